// Requests to Airflow's REST API with the session of the viewer: core checks each permission.

const TIMEOUT = 30_000;
const NAMES = { taskInstances: "task instances", xcomEntries: "XComs", events: "asset events", tries: "task instances" };

/** A request that failed. `kind` is expired, forbidden, missing, timeout, network or server. */
export class ApiError extends Error {
  constructor(kind, status, what) {
    super(`${kind} (${status}): ${what}`);
    Object.assign(this, { kind, status, what });
  }
}

/** Returns the JSON that Airflow's REST API has at a path, with `[name, value]` pairs as parameters. */
export async function getJson(path, params = []) {
  const url = new URL(`api/v2/${path}`, document.baseURI);
  url.search = new URLSearchParams(params).toString();
  const what = NAMES[path.split("/").findLast((part) => Object.hasOwn(NAMES, part))] ?? "this data";
  let response;
  let body;
  try {
    response = await fetch(url, {
      headers: { Accept: "application/json" },
      credentials: "same-origin",
      signal: AbortSignal.timeout(TIMEOUT),
    });
    body = await response.text();
  } catch (error) {
    throw new ApiError(error.name === "TimeoutError" ? "timeout" : "network", 0, what);
  }
  if (!response.ok) throw new ApiError(kindOf(response.status, body), response.status, what);
  try {
    return JSON.parse(body);
  } catch {
    // A login page of a proxy in front of Airflow.
    throw new ApiError("expired", response.status, what);
  }
}

function kindOf(status, body) {
  // Airflow answers 403 to a token that has expired.
  if (status === 401 || (status === 403 && /JWT|authenticated|Signature has expired/i.test(body))) return "expired";
  return { 403: "forbidden", 404: "missing", 504: "timeout" }[status] ?? "server";
}

/** Returns the path of a task instance. */
export function taskPath({ dag_id, dag_run_id, task_id, map_index }) {
  const parts = ["dags", dag_id, "dagRuns", dag_run_id, "taskInstances", task_id];
  if (map_index >= 0) parts.push(String(map_index));
  return parts.map(encodeURIComponent).join("/");
}

/** Returns the XCom that a sync keeps up to date, or null if the task has pushed none. */
export async function getDetail(row) {
  const path = taskPath({ ...row, map_index: -1 });
  try {
    const entry = await getJson(`${path}/xcomEntries/airbyte_sync`, [
      ["map_index", String(row.map_index ?? -1)],
      ["stringify", "false"],
    ]);
    return typeof entry.value === "string" ? JSON.parse(entry.value) : entry.value;
  } catch (error) {
    if (error.kind === "missing" || error instanceof SyntaxError) return null;
    throw error;
  }
}
