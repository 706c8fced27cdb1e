"""One watch per Airbyte in a triggerer: all who wait for a job there share its session, its token and its polls.

An event loop has one :class:`~.service.PollingService` for each Airbyte (the same API root, credentials and limits),
and it lives as long as somebody waits. In it, each workspace is polled by itself (:class:`~.poller.Poller`):

- a few jobs are asked for one by one, each when it is due;
- more of them are covered by *one* list of what changed since the last poll, by the server's own clock, and with an
  overlap. A job counts as covered only once a list has shown it; until then it is asked for by its id;
- a slow sweep looks at all of them, in case a change was never listed.

Who waits is woken only by news of its own job, so that a poll costs what changed, and not what waits.
"""
