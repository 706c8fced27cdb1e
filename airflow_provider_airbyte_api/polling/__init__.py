"""The shared polling service: all waiters for one Airbyte in a triggerer share a session, a token and polls.

An event loop has one :class:`~.service.PollingService` for each Airbyte (the same API root, credentials and limits). It
exists as long as it has users. Each workspace has a separate :class:`~.poller.Poller`, which sends the requests that
its :class:`~.api.poll_plan.PollPlan` decides on. A waiter wakes up only for an update of its own job. So the cost of a
poll depends on the changes, not on the number of waiters.
"""
