"""The shared polling service: all waiters for one Airbyte in a triggerer share a session, a token and polls.

An event loop has one :class:`~.service.PollingService` for each Airbyte (the same API root, credentials and limits). It
exists as long as it has users. Each workspace has a separate :class:`~.poller.Poller`:

- A few jobs are polled one by one, each when it is due.
- More jobs are covered by *one* list of the changes since the last poll, by the server's clock and with an overlap. A
  job counts as covered once a list has contained it. Until then it is polled by its ID.
- A slow sweep polls all jobs, in case a list has missed a change.

A waiter wakes up only for an update of its own job. So the cost of a poll depends on the changes, not on the number of
waiters.
"""
