// What the page decides: from rows of Airflow's REST API to what is shown, and from filters to the URL and back.
// Pure functions: no request, no clock, no element.

export const OPERATORS = ["AirbyteSyncOperator", "AirbyteTriggerSyncOperator"];

/** Task states whose sync has not finished, as far as Airflow knows. */
export const UNFINISHED = ["running", "deferred", "up_for_reschedule", "restarting", "queued", "scheduled"];

const STATES = { success: "succeeded", failed: "failed", up_for_retry: "failed", skipped: "skipped" };
const TERMINAL_STATUSES = ["succeeded", "failed", "cancelled"];

const HOUR = 3600 * 1000;
export const RANGES = { "1h": HOUR, "6h": 6 * HOUR, "24h": 24 * HOUR, "7d": 168 * HOUR, "30d": 720 * HOUR };
export const RANGE_LABELS = {
  "1h": "Last hour",
  "6h": "Last 6 hours",
  "24h": "Last 24 hours",
  "7d": "Last 7 days",
  "30d": "Last 30 days",
};
export const STATE_FILTERS = {
  "": "All states",
  running: "Running",
  succeeded: "Succeeded",
  failed: "Failed or cancelled",
};
/** Task states by filter. Without a filter, those of a task that has started: PostgreSQL lists all others first. */
const TASK_STATES = {
  "": ["running", "deferred", "up_for_reschedule", "restarting", ...Object.keys(STATES)],
  running: UNFINISHED,
  succeeded: ["success"],
  failed: ["failed", "up_for_retry"],
};

/** How far the browser's clock may be ahead of the server's. A sync is shown that much after its start. */
const CLOCK_TOLERANCE = 2_000;

/** A connection is late if its last success is older than this many usual intervals. */
export const LATE_AFTER = 2;

// -- filters ---------------------------------------------------------------------------------------------------------

export const NO_FILTERS = { range: "24h", state: "", dag: "", connection: "" };

/** Returns the filters that a query string has. Unknown values are ignored. */
export function readFilters(search) {
  const params = new URLSearchParams(search);
  const range = params.get("range") ?? "";
  const state = params.get("state") ?? "";
  return {
    range: Object.hasOwn(RANGES, range) ? range : NO_FILTERS.range,
    state: Object.hasOwn(STATE_FILTERS, state) ? state : NO_FILTERS.state,
    dag: params.get("dag") ?? "",
    connection: params.get("connection") ?? "",
  };
}

/** Returns the query string for filters, without those that have their default. Other parameters are kept. */
export function writeFilters(filters, search = "") {
  const params = new URLSearchParams(search);
  for (const [name, value] of Object.entries(filters)) {
    if (value === NO_FILTERS[name]) params.delete(name);
    else params.set(name, value);
  }
  return params.toString();
}

/**
 * Returns the path and the parameters of a list of task instances: those with a start, and with `since` those that ran
 * at that time or later.
 */
export function taskInstancesRequest(filters, { states, since, now, limit, offset = 0 }) {
  const dag = filters.dag ? encodeURIComponent(filters.dag) : "~";
  const wanted = states ?? TASK_STATES[filters.state];
  const params = [
    ...OPERATORS.map((operator) => ["operator", operator]),
    ...wanted.map((state) => ["state", state]),
    ["order_by", "-start_date"],
    ["limit", String(limit)],
    ["offset", String(offset)],
  ];
  if (since !== undefined) params.push(["end_date_gte", new Date(since).toISOString()]);
  // Airflow takes a task without a start for one that starts now.
  if (wanted.includes("queued")) params.push(["start_date_lte", new Date(now - CLOCK_TOLERANCE).toISOString()]);
  return { path: `dags/${dag}/dagRuns/~/taskInstances`, params };
}

/** Returns true if the filters show syncs in this state. */
export function showsState(filters, state) {
  if (!filters.state) return true;
  return filters.state === state || (filters.state === "failed" && state === "cancelled");
}

// -- syncs -----------------------------------------------------------------------------------------------------------

/** Returns the sync of a task instance, or null if the task has not started one. `detail` is its XCom, if known. */
export function toSync(row, detail) {
  const state = UNFINISHED.includes(row.state) ? "running" : STATES[row.state];
  const start = parseTime(row.start_date);
  if (!state || start === null) return null;
  const rendered = row.rendered_fields ?? {};
  const job = isObject(detail) ? detail : {};
  return {
    key: row.id,
    source: "task",
    dagId: row.dag_id,
    runId: row.dag_run_id,
    taskId: row.task_id,
    mapIndex: row.map_index,
    tryNumber: row.try_number,
    willRetry: row.state === "up_for_retry",
    state: combineState(state, job.status),
    start,
    end: state === "running" ? null : parseTime(row.end_date),
    connectionId: text(job.connection_id) ?? text(rendered.connection_id),
    connectionName: text(job.connection_name) ?? text(rendered.connection_name),
    nameScope: JSON.stringify([rendered.airbyte_conn_id, rendered.workspace_id, rendered.workspace_name]),
    ...jobFields(job),
  };
}

/** Returns the sync of an asset event that no task emitted: a watcher or the webhook did. Null if it is another event. */
export function eventToSync(event) {
  const extra = syncExtra(event);
  if (extra === null || event.source_task_id) return null;
  const end = parseTime(extra.end_time) ?? parseTime(event.timestamp);
  const start = parseTime(extra.start_time) ?? end;
  return {
    key: `event-${event.id}`,
    source: "event",
    state: TERMINAL_STATUSES.includes(extra.status) ? extra.status : "succeeded",
    start,
    end,
    connectionId: text(extra.connection_id),
    connectionName: text(extra.connection_name),
    ...jobFields({ ...extra, rows: extra.rows_synced, bytes: extra.bytes_synced }),
  };
}

/** Returns the XCom-like detail that an asset event has for the task that emitted it, with the task; or null. */
export function eventToDetail(event) {
  const extra = syncExtra(event);
  if (extra === null || !event.source_task_id) return null;
  return {
    task: taskKey(event.source_dag_id, event.source_run_id, event.source_task_id, event.source_map_index),
    detail: { ...extra, rows: extra.rows_synced, bytes: extra.bytes_synced, started_at: extra.start_time },
  };
}

/** Returns a key for a task of a run, whatever the number of its attempts. */
export function taskKey(dagId, runId, taskId, mapIndex) {
  return JSON.stringify([dagId, runId, taskId, mapIndex ?? -1]);
}

function syncExtra(event) {
  const extra = isObject(event.extra?.payload) ? event.extra.payload : event.extra;
  return isObject(extra) && extra.job_id !== undefined && text(extra.connection_id) ? extra : null;
}

function jobFields(job) {
  return {
    jobId: typeof job.job_id === "number" ? job.job_id : null,
    jobUrl: safeUrl(job.job_url),
    jobStatus: text(job.status),
    attempt: number(job.attempt),
    rows: number(job.rows),
    bytes: number(job.bytes),
    jobStart: parseTime(job.started_at),
    updated: parseTime(job.updated_at),
    reason: isObject(job.reason) ? job.reason : null,
  };
}

/** The task decides, except that only the job knows whether it was cancelled, or goes on without its task. */
function combineState(state, jobStatus) {
  if (state === "failed" && jobStatus === "cancelled") return "cancelled";
  if (state === "succeeded" && jobStatus && !TERMINAL_STATUSES.includes(jobStatus)) return "unfollowed";
  return state;
}

/** Returns the syncs of tasks, without a success that nobody has seen: that of a task which does not wait for its syncs. */
export function markUnfollowed(taskSyncs) {
  const taskOf = (sync) => JSON.stringify([sync.dagId, sync.taskId]);
  const notWaiting = new Set(taskSyncs.filter((sync) => sync.state === "unfollowed").map(taskOf));
  if (notWaiting.size === 0) return taskSyncs;
  const isUnknown = (sync) => sync.state === "succeeded" && sync.jobStatus === null && notWaiting.has(taskOf(sync));
  return taskSyncs.map((sync) => (isUnknown(sync) ? { ...sync, state: "unfollowed" } : sync));
}

/** Returns all syncs, newest first: those of tasks, and those of events that belong to none of the tasks. */
export function mergeSyncs(taskSyncs, eventSyncs) {
  const merged = [...taskSyncs];
  const byConnection = groupBy(taskSyncs, connectionIds([...taskSyncs, ...eventSyncs]));
  const jobs = new Set();
  for (const sync of eventSyncs) {
    const job = `${sync.connectionId}/${sync.jobId}`;
    // A connection runs one job at a time: a job within the time of a task is the job of the task.
    const tasks = byConnection.get(sync.connectionId) ?? [];
    const isOfTask = tasks.some((task) => task.state !== "unfollowed" && overlaps(task, sync));
    if (!jobs.has(job) && !isOfTask) merged.push(sync);
    jobs.add(job);
  }
  return merged.sort((one, other) => other.start - one.start);
}

/** Returns true if two syncs of a connection have the same job, which one of them may not know. */
function overlaps(one, other) {
  if (one.jobId && other.jobId) return one.jobId === other.jobId;
  return other.start < (one.end ?? Infinity) && (other.end ?? Infinity) > one.start;
}

/** Returns a function for the id of a sync's connection, if `syncs` have it; two connections may have one name. */
function connectionIds(syncs) {
  const idsOf = new Map();
  const keysOf = (sync) => [JSON.stringify([sync.nameScope, sync.connectionName]), sync.connectionName];
  for (const sync of syncs) {
    if (!sync.connectionId || !sync.connectionName) continue;
    for (const key of keysOf(sync)) idsOf.set(key, (idsOf.get(key) ?? new Set()).add(sync.connectionId));
  }
  const only = (key) => (idsOf.get(key)?.size === 1 ? [...idsOf.get(key)][0] : undefined);
  return (sync) => sync.connectionId ?? keysOf(sync).map(only).find(Boolean);
}

/** Returns the rows of the timeline: a connection with its syncs, its freshness and its name. Late ones come first. */
export function toConnections(syncs, now) {
  const names = new Map();
  for (const { connectionId, connectionName } of syncs) {
    if (connectionId && connectionName && !names.has(connectionId)) names.set(connectionId, connectionName);
  }
  const idOf = connectionIds(syncs);
  const groups = groupBy(
    syncs,
    (sync) =>
      idOf(sync) ?? (sync.connectionName ? `name:${sync.connectionName}` : `task:${sync.dagId}.${sync.taskId}`),
  );
  const connections = [...groups].map(([key, members]) => {
    const known = members.find((sync) => sync.connectionName || sync.connectionId) ?? members[0];
    const name = names.get(key) ?? known.connectionName ?? known.connectionId ?? `${known.dagId}.${known.taskId}`;
    const url = members.map((sync) => connectionUrl(sync.jobUrl)).find(Boolean) ?? null;
    return { key, name, url, syncs: members, ...freshness(members, now) };
  });
  const rank = { late: 0, failing: 1, running: 2, unknown: 3, fresh: 3 };
  return connections.sort((one, other) => rank[one.status] - rank[other.status] || one.name.localeCompare(other.name));
}

/** Returns when a connection last succeeded, how often it usually does, and what follows from that. */
export function freshness(syncs, now) {
  const ends = distinct(syncs.filter((sync) => sync.state === "succeeded")).map(endOf);
  const last = ends[0] ?? null;
  const interval = ends.length < 3 ? null : median(ends.slice(1).map((end, index) => ends[index] - end));
  const newest = syncs.reduce((latest, sync) => (sync.start > latest.start ? sync : latest), syncs[0]);
  const isRunning = syncs.some((sync) => sync.state === "running");
  let status = "unknown";
  if (last !== null && interval !== null) status = now - last > LATE_AFTER * interval ? "late" : "fresh";
  if (status !== "late" && ["failed", "cancelled"].includes(newest.state)) status = "failing";
  if (status !== "late" && isRunning) status = "running";
  return { last, interval, status };
}

/** Returns the syncs, the latest end first, once for each job: several tasks may have waited for it. */
function distinct(syncs) {
  const found = [];
  for (const sync of [...syncs].sort((one, other) => endOf(other) - endOf(one))) {
    if (found.length === 0 || !overlaps(found.at(-1), sync)) found.push(sync);
  }
  return found;
}

/** Returns the end of a finished sync. */
export function endOf(sync) {
  return sync.end ?? sync.start;
}

/** Returns rows per second: between the last two changes of the numbers if both are known, else on average; or null. */
export function rowRate(sync, samples) {
  const changes = (samples ?? []).filter((sample) => sample.rows !== null && sample.at !== null);
  const latest = changes.at(-1);
  const previous = changes.findLast((sample) => latest && sample.at < latest.at);
  if (latest && previous) return (latest.rows - previous.rows) / ((latest.at - previous.at) / 1000);
  const start = sync.jobStart ?? sync.start;
  if (sync.rows === null || sync.updated === null || sync.updated <= start) return null;
  return sync.rows / ((sync.updated - start) / 1000);
}

/** Returns a sentence for why a sync failed. */
export function reasonText(sync) {
  const { origin, kind, message } = sync.reason ?? {};
  const source = [text(origin), text(kind)].filter(Boolean).join(", ");
  if (text(message)) return source ? `${source}: ${message}` : message;
  if (source) return source;
  if (sync.state === "cancelled") return "The job was cancelled.";
  return sync.jobId === null
    ? "The task failed before it had a job. The task log says why."
    : "Airbyte recorded no reason. The job log in Airbyte says more.";
}

/** Returns the place of a sync in a window of time, in percent; null if it is outside. */
export function barPlace(sync, from, until) {
  const end = Math.min(sync.end ?? until, until);
  const start = Math.max(sync.start, from);
  if (end < from || sync.start > until) return null;
  const scale = 100 / (until - from);
  return { left: (start - from) * scale, width: Math.max(0, (end - start) * scale) };
}

/** Returns the times for the axis of a window: at most about eight, whole hours or days on a clock `offset` ahead of UTC. */
export function axisTicks(from, until, offset = 0) {
  const steps = [10 / 60, 0.25, 0.5, 1, 2, 3, 6, 12, 24, 48, 96, 168].map((hours) => hours * HOUR);
  const step = steps.find((each) => (until - from) / each <= 8) ?? steps.at(-1);
  const ticks = [];
  for (let tick = Math.ceil((from + offset) / step) * step - offset; tick < until; tick += step) ticks.push(tick);
  return ticks;
}

/** Returns the next element of a list for an arrow key, or null. */
export function nextIndex(index, length, key) {
  const next = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: length - 1 }[key];
  return next === undefined || next < 0 || next >= length ? null : next;
}

/** Returns the address of the connection that a job's page belongs to. */
export function connectionUrl(jobUrl) {
  const match = /^(.*\/connections\/[0-9a-fA-F-]{36})(\/|$)/.exec(jobUrl ?? "");
  return match ? match[1] : null;
}

/** Returns a URL if it is one for a browser to follow, else null. */
export function safeUrl(url) {
  return typeof url === "string" && /^https?:\/\//i.test(url) ? url : null;
}

// -- errors ----------------------------------------------------------------------------------------------------------

/** Returns what happened and what to do, for a request that failed. */
export function explainError(error) {
  const { kind, status, what } = error;
  if (kind === "expired") return "Your session has expired. Reload the page to log in again.";
  if (kind === "forbidden") {
    return (
      `You may not read ${what}. Ask an administrator for read access to ${what} ` +
      "(with the FAB auth manager: “can read on DAGs”, “can read on Task Instances” and “can read on XComs”)."
    );
  }
  if (kind === "missing") return "Airflow has no such DAG. Remove the DAG from the filters.";
  if (kind === "timeout") return "Airflow's API server did not answer within 30 seconds. The page keeps trying.";
  if (kind === "network") return "Airflow's API server cannot be reached. The page keeps trying.";
  return `Airflow's API server answered with an error (${status}). The page keeps trying; its log says more.`;
}

// -- helpers ---------------------------------------------------------------------------------------------------------

function groupBy(items, keyOf) {
  const groups = new Map();
  for (const item of items) {
    const key = keyOf(item);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(item);
  }
  return groups;
}

function median(numbers) {
  const sorted = [...numbers].sort((one, other) => one - other);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function parseTime(value) {
  const time = typeof value === "string" ? Date.parse(value) : NaN;
  return Number.isNaN(time) ? null : time;
}

function text(value) {
  return typeof value === "string" && value !== "" ? value : null;
}

function number(value) {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
