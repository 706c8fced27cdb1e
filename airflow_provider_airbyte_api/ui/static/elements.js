// What the page and the tab share. React and the router are those of Airflow's UI; there is no build step.

const { React, ReactRouterDOM } = globalThis;

export const h = React.createElement;

const LABELS = {
  running: "Running",
  succeeded: "Succeeded",
  failed: "Failed",
  cancelled: "Cancelled",
  skipped: "Skipped",
  unfollowed: "Started, not awaited",
  late: "Late",
  fresh: "Fresh",
  failing: "Failing",
  unknown: "Too few syncs",
};

/** The stylesheet, next to this file. */
export function Styles() {
  return h("link", { rel: "stylesheet", href: new URL("airbyte.css", import.meta.url).href });
}

export function Badge({ state, title }) {
  return h("span", { className: `aby-badge aby-${state}`, title }, LABELS[state] ?? state);
}

/** A link to another site, such as Airbyte. Text alone if the address is unknown. */
export function ExternalLink({ href, children }) {
  if (!href) return children ?? null;
  return h("a", { href, target: "_blank", rel: "noopener noreferrer", className: "aby-external" }, children);
}

/** A link within Airflow's UI. */
export function InternalLink({ to, children, ...rest }) {
  return h(ReactRouterDOM.Link, { to, ...rest }, children);
}

export function taskUrl({ dagId, runId, taskId, mapIndex }) {
  const mapped = mapIndex >= 0 ? `/mapped/${mapIndex}` : "";
  return `${runUrl({ dagId, runId })}/tasks/${encodeURIComponent(taskId)}${mapped}`;
}

export function runUrl({ dagId, runId }) {
  return `/dags/${encodeURIComponent(dagId)}/runs/${encodeURIComponent(runId)}`;
}

/** The links of a sync to its task, its DAG run and its job. */
export function SyncLinks({ sync }) {
  if (sync.source !== "task") return h("span", { className: "aby-muted" }, "No task: reported by an asset event");
  const index = sync.mapIndex >= 0 ? ` [${sync.mapIndex}]` : "";
  return h(
    "span",
    { className: "aby-links" },
    h(InternalLink, { to: taskUrl(sync) }, `${sync.dagId}.${sync.taskId}${index}`),
    " ",
    h(InternalLink, { to: runUrl(sync), className: "aby-muted", title: sync.runId }, "run"),
  );
}

export function JobLink({ sync }) {
  if (sync.jobId === null) return h("span", { className: "aby-muted" }, "–");
  return h(ExternalLink, { href: sync.jobUrl }, `Job ${sync.jobId}`);
}

const zone = { stored: null, name: undefined };

/** The time zone that the viewer has chosen in Airflow's UI; undefined is that of the browser. */
export function chosenTimeZone() {
  const stored = localStorage.getItem("timezone");
  if (stored !== zone.stored) Object.assign(zone, { stored, name: parseTimeZone(stored) });
  return zone.name;
}

function parseTimeZone(stored) {
  try {
    return new Intl.DateTimeFormat("en-GB", { timeZone: JSON.parse(stored) }).resolvedOptions().timeZone;
  } catch {
    return undefined;
  }
}

/** The current time, updated each second. */
export function useNow() {
  const [now, setNow] = React.useState(Date.now);
  React.useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return now;
}
