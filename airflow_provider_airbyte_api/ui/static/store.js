// The data of the page: what to request when, and what is known so far.

import { getDetail, getJson, taskPath } from "./api.js";
import {
  RANGES,
  UNFINISHED,
  eventToDetail,
  eventToSync,
  markUnfollowed,
  mergeSyncs,
  taskInstancesRequest,
  taskKey,
  toSync,
} from "./model.js";

export const PAGE_SIZE = 100; // [api] maximum_page_limit
export const RUNNING_INTERVAL = 5_000;
export const IDLE_INTERVAL = 30_000;
const ATTENTIVE_TIME = 60_000; // after the page was opened or filtered: what was triggered for it starts soon
const FAILURES = 20;
const MAX_EVENT_PAGES = 5;
const MAX_DETAIL_REQUESTS = 4; // at a time
const MAX_SAMPLES = 20;

function rowKey(row) {
  return taskKey(row.dag_id, row.dag_run_id, row.task_id, row.map_index);
}

export class SyncStore {
  constructor() {
    this.listeners = new Set();
    this.generation = 0; // responses to requests of an earlier one are dropped
    this.active = 0; // requests of details in flight
    this.timer = null;
    this.isRunning = false;
    this.onVisible = () => {
      if (!document.hidden) this.refresh();
    };
    this.reset(null);
  }

  reset(filters) {
    this.filters = filters;
    this.generation += 1;
    this.rows = new Map();
    this.pages = 1;
    this.total = 0;
    this.details = new Map();
    this.failedDetails = new Map(); // not requested again before the next full refresh
    this.pending = new Set();
    this.waiting = [];
    this.samples = new Map();
    this.syncs = new Map();
    this.events = new Map();
    this.setEvents();
    this.error = null;
    this.notice = null;
    this.hasLoaded = false;
    this.isLoadingOlder = false;
    this.fullRefreshAt = 0;
    this.interval = IDLE_INTERVAL;
    this.resetAt = Date.now();
    this.updatedAt = Date.now();
    this.publish();
  }

  // -- for React: useSyncExternalStore -------------------------------------------------------------------------------

  subscribe = (listener) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  snapshot = () => this.current;

  publish() {
    clearTimeout(this.publishTimer);
    this.publishTimer = undefined;
    const tasks = markUnfollowed([...this.rows.values()].map((row) => this.syncOf(row)).filter(Boolean));
    this.current = {
      // Whose DAG started the job of an event is not known.
      syncs: mergeSyncs(tasks, this.filters?.dag ? [] : this.eventSyncs),
      samples: this.samples,
      now: this.updatedAt,
      total: this.total,
      loaded: Math.min(this.pages * PAGE_SIZE, this.total),
      error: this.error,
      notice: this.notice,
      hasLoaded: this.hasLoaded,
      fullRefreshAt: this.fullRefreshAt,
      interval: this.interval,
      isLoadingOlder: this.isLoadingOlder,
    };
    for (const listener of this.listeners) listener();
  }

  /** Publishes soon: details arrive one by one. */
  publishSoon() {
    this.publishTimer ??= setTimeout(() => this.publish(), 100);
  }

  /** Returns the sync of a row, the same object as long as nothing of it has changed. */
  syncOf(row) {
    const isFinished = !UNFINISHED.includes(row.state);
    const stored = this.details.get(row.id);
    // What was read while the sync ran is not how it ended.
    const detail = (isFinished && stored?.state !== row.state ? null : stored?.detail) ?? this.eventDetails.get(rowKey(row));
    const known = this.syncs.get(row.id);
    if (known?.row === row && known.detail === detail) return known.sync;
    const sync = toSync(row, detail);
    this.syncs.set(row.id, { row, detail, sync });
    return sync;
  }

  setEvents() {
    const events = [...this.events.values()].sort((one, other) => Date.parse(other.timestamp) - Date.parse(one.timestamp));
    this.eventSyncs = events.map(eventToSync).filter(Boolean);
    this.eventDetails = new Map(events.map(eventToDetail).filter(Boolean).map(({ task, detail }) => [task, detail]));
  }

  // -- what to request when ------------------------------------------------------------------------------------------

  start(filters) {
    this.isRunning = true;
    document.addEventListener("visibilitychange", this.onVisible);
    this.reset(filters);
    this.refresh();
  }

  stop() {
    this.isRunning = false;
    this.generation += 1;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.onVisible);
  }

  /** Requests what may have changed. A hidden tab requests nothing. */
  async refresh({ full = false } = {}) {
    clearTimeout(this.timer);
    if (!this.isRunning || document.hidden) return;
    const generation = this.generation;
    try {
      if (full || Date.now() >= this.fullRefreshAt) await this.loadAll(generation);
      else await this.loadUnfinished(generation);
      if (generation === this.generation) [this.error, this.updatedAt] = [null, Date.now()];
    } catch (error) {
      if (error.kind === undefined) console.error(error);
      if (generation === this.generation) this.error = error;
    }
    if (generation !== this.generation) return;
    this.hasLoaded = this.hasLoaded || this.error === null;
    const isWaiting = [...this.rows.values()].some((row) => UNFINISHED.includes(row.state));
    const isAttentive = isWaiting || Date.now() < this.resetAt + ATTENTIVE_TIME;
    this.interval = isAttentive && this.error === null ? RUNNING_INTERVAL : IDLE_INTERVAL;
    this.publish();
    clearTimeout(this.timer); // of a refresh that ended meanwhile
    this.timer = setTimeout(() => this.refresh(), this.interval);
  }

  async loadAll(generation) {
    const since = Date.now() - RANGES[this.filters.range];
    const lists = await Promise.all([
      this.list({ since, limit: PAGE_SIZE }),
      this.list({ states: UNFINISHED, limit: PAGE_SIZE }),
      this.list({ states: ["failed", "up_for_retry"], since, limit: FAILURES }),
    ]);
    if (generation !== this.generation) return;
    const [newest, unfinished, failures] = lists;
    this.total = newest.total_entries;
    this.forget(newest, since);
    this.add(newest);
    this.add(failures);
    this.failedDetails.clear();
    this.fullRefreshAt = Date.now() + IDLE_INTERVAL;
    await this.addUnfinished(unfinished);
  }

  async loadUnfinished(generation) {
    const unfinished = await this.list({ states: UNFINISHED, limit: PAGE_SIZE });
    if (generation === this.generation) await this.addUnfinished(unfinished);
  }

  list(options) {
    const { path, params } = taskInstancesRequest(this.filters, { now: Date.now(), ...options });
    return getJson(path, params);
  }

  add({ task_instances: rows }) {
    for (const row of rows) this.rows.set(row.id, row);
  }

  /** Drops the finished rows that ended before the time shown, or all of them if rows are missing before the newest. */
  forget({ task_instances: newest, total_entries: total }, since) {
    const oldest = newest.at(-1);
    const hasGap = this.rows.size > 0 && total > newest.length && oldest && !this.rows.has(oldest.id);
    if (hasGap) this.pages = 1;
    for (const row of this.rows.values()) {
      if (UNFINISHED.includes(row.state) || !(hasGap || Date.parse(row.end_date) < since)) continue;
      for (const known of [this.rows, this.details, this.samples, this.syncs]) known.delete(row.id);
    }
  }

  /** Adds the unfinished rows, and requests those that were unfinished before: they have finished. */
  async addUnfinished(list) {
    const listed = new Set(list.task_instances.map((row) => row.id));
    const isComplete = list.total_entries <= list.task_instances.length;
    const finished = [...this.rows.values()].filter((row) => UNFINISHED.includes(row.state) && !listed.has(row.id));
    this.add(list);
    if (isComplete) await Promise.all(finished.map((row) => this.reload(row)));
  }

  async reload(row) {
    try {
      const fresh = await getJson(taskPath(row));
      this.rows.delete(row.id);
      this.rows.set(fresh.id, fresh);
    } catch (error) {
      if (error.kind !== "missing") throw error;
      this.rows.delete(row.id);
    }
  }

  /** Requests asset events: they have the numbers of many syncs at once, and syncs that no task ran. */
  async loadEvents() {
    const generation = this.generation;
    const since = Date.now() - RANGES[this.filters.range];
    try {
      for (let page = 0; page < MAX_EVENT_PAGES; page += 1) {
        const { asset_events: events, total_entries: total } = await getJson("assets/events", [
          ["order_by", "-timestamp"],
          ["limit", String(PAGE_SIZE)],
          ["offset", String(page * PAGE_SIZE)],
          ["timestamp_gte", new Date(since).toISOString()],
        ]);
        if (generation !== this.generation) return;
        const isKnown = events.length === 0 || this.events.has(events.at(-1).id);
        for (const event of events) this.events.set(event.id, event);
        if (isKnown || total <= (page + 1) * PAGE_SIZE) break;
      }
    } catch (error) {
      // The page works without them.
      if (generation === this.generation && error.kind === "forbidden") this.notice = error;
    }
    if (generation !== this.generation) return;
    for (const [id, event] of this.events) if (Date.parse(event.timestamp) < since) this.events.delete(id);
    this.setEvents();
    this.publishSoon();
  }

  async loadOlder() {
    const generation = this.generation;
    this.isLoadingOlder = true;
    this.publish();
    try {
      const since = Date.now() - RANGES[this.filters.range];
      const list = await this.list({ since, limit: PAGE_SIZE, offset: this.pages * PAGE_SIZE });
      if (generation !== this.generation) return;
      this.pages += 1;
      this.total = list.total_entries;
      this.add(list);
    } catch (error) {
      if (generation === this.generation) this.error = error;
    }
    if (generation !== this.generation) return;
    this.isLoadingOlder = false;
    this.publish();
  }

  // -- details: one request for each sync, so only for those that are shown --------------------------------------------

  /** Requests the details of syncs, those of a finished sync once. */
  wantDetails(syncs) {
    if (document.hidden) return;
    for (const sync of syncs) {
      const row = this.rows.get(sync.key);
      if (!row || this.pending.has(sync.key)) continue;
      const stamp = `${row.state} ${row.try_number} ${row.end_date ?? this.updatedAt}`;
      const hasEvent = this.eventDetails.has(rowKey(row));
      const isKnown = [this.details.get(sync.key)?.stamp, this.failedDetails.get(sync.key)].includes(stamp);
      if (isKnown || (hasEvent && row.state === "success")) continue;
      this.pending.add(sync.key);
      this.waiting.push({ row, stamp });
    }
    while (this.waiting.length > 0 && this.active < MAX_DETAIL_REQUESTS) this.loadNextDetail();
  }

  async loadNextDetail() {
    const { row, stamp } = this.waiting.shift();
    const generation = this.generation;
    this.active = this.active + 1;
    let detail;
    try {
      detail = await getDetail(row);
    } catch (error) {
      if (generation === this.generation && error.kind === "forbidden") this.notice = error;
    }
    this.active -= 1;
    if (generation !== this.generation) return;
    this.pending.delete(row.id);
    if (detail === undefined) {
      this.failedDetails.set(row.id, stamp);
    } else {
      this.details.set(row.id, { stamp, state: row.state, detail });
      this.addSample(row, detail);
    }
    this.publishSoon();
    if (this.waiting.length > 0) this.loadNextDetail();
  }

  addSample(row, detail) {
    const at = Date.parse(detail?.updated_at);
    if (!UNFINISHED.includes(row.state) || Number.isNaN(at) || typeof detail.rows !== "number") return;
    const samples = this.samples.get(row.id) ?? [];
    if (samples.at(-1)?.at !== at) this.samples.set(row.id, [...samples, { at, rows: detail.rows }].slice(-MAX_SAMPLES));
  }
}
