// The page "Airbyte Syncs".

import {
  Badge,
  ExternalLink,
  JobLink,
  Styles,
  SyncLinks,
  chosenTimeZone,
  h,
  taskUrl,
  useNow,
} from "./elements.js";
import {
  formatAgo,
  formatBytes,
  formatClock,
  formatDuration,
  formatInterval,
  formatRate,
  formatRows,
  formatTick,
  formatTime,
  zoneOffset,
} from "./format.js";
import {
  LATE_AFTER,
  RANGES,
  RANGE_LABELS,
  STATE_FILTERS,
  axisTicks,
  barPlace,
  endOf,
  explainError,
  nextIndex,
  readFilters,
  reasonText,
  rowRate,
  showsState,
  toConnections,
  writeFilters,
} from "./model.js";
import { SyncStore } from "./store.js";

const { React, ReactRouterDOM } = globalThis;
const { useEffect, useMemo, useRef, useState, useSyncExternalStore } = React;

const CONNECTIONS_PER_PAGE = 25;
const FAILURES_PER_PAGE = 10;
const RUNNING_PER_PAGE = 25;

export function SyncsPage() {
  const [params, setParams] = ReactRouterDOM.useSearchParams();
  const search = params.toString();
  const filters = useMemo(() => readFilters(search), [search]);
  const setFilters = (change) => setParams(writeFilters({ ...filters, ...change }, search), { replace: true });
  const [store] = useState(() => new SyncStore());
  useEffect(() => {
    store.start(filters);
    return () => store.stop();
  }, [store, filters.range, filters.dag, filters.state]);
  const data = useSyncExternalStore(store.subscribe, store.snapshot);

  const shown = useMemo(() => data.syncs.filter((sync) => showsState(filters, sync.state)), [data.syncs, filters]);
  const all = useMemo(() => toConnections(shown, data.now), [shown, data.now]);
  const connections = filters.connection ? all.filter((each) => each.key === filters.connection) : all;
  const syncs = filters.connection ? connections.flatMap((each) => each.syncs) : shown;
  const running = syncs.filter((sync) => sync.state === "running");
  const from = data.now - RANGES[filters.range];
  const failures = syncs.filter((sync) => ["failed", "cancelled"].includes(sync.state) && endOf(sync) >= from);
  useEffect(() => {
    if (data.hasLoaded) performance.mark("airbyte:first-view");
  }, [data.hasLoaded]);
  useEffect(() => {
    if (data.hasLoaded) store.loadEvents(); // after the view: it does not wait for them
  }, [store, data.hasLoaded, data.fullRefreshAt]);

  return h(
    "main",
    { className: "aby" },
    h(Styles),
    h(Header, { data, running: running.length, onRefresh: () => store.refresh({ full: true }) }),
    h(Filters, { filters, setFilters, connections: all, syncs: data.syncs }),
    data.error && h(Alert, null, explainError(data.error)),
    data.notice && h(Alert, { isNotice: true }, explainError(data.notice)),
    !data.hasLoaded && !data.error && h("p", { role: "status", className: "aby-empty" }, "Loading the syncs …"),
    data.hasLoaded && syncs.length === 0 && h(NothingYet, { filters, data, store }),
    data.hasLoaded &&
      syncs.length > 0 &&
      h(
        React.Fragment,
        null,
        showsState(filters, "running") && h(Running, { syncs: running, names: all, samples: data.samples, store }),
        h(Connections, { connections, from, until: data.now, store, data }),
        showsState(filters, "failed") && h(Failures, { syncs: failures, names: all, now: data.now, store }),
      ),
    h(Limits),
  );
}

function Header({ data, running, onRefresh }) {
  return h(
    "header",
    { className: "aby-header" },
    h("h1", null, "Airbyte syncs"),
    h(
      "span",
      { className: "aby-muted", role: "status" },
      data.hasLoaded
        ? `${running} running. Updated at ${formatClock(data.now, chosenTimeZone())}, every ${data.interval / 1000} s.`
        : "",
    ),
    h("button", { type: "button", className: "aby-button", onClick: onRefresh }, "Refresh"),
  );
}

function Filters({ filters, setFilters, connections, syncs }) {
  const dags = [...new Set([...syncs.map((sync) => sync.dagId).filter(Boolean), filters.dag].filter(Boolean))].sort();
  const names = connections.map((each) => [each.key, each.name]).sort((one, other) => one[1].localeCompare(other[1]));
  if (filters.connection && !names.some(([key]) => key === filters.connection)) {
    names.push([filters.connection, filters.connection]);
  }
  const select = (name, label, options) =>
    h(
      "label",
      { className: "aby-filter" },
      h("span", null, label),
      h(
        "select",
        { value: filters[name], name, onChange: (event) => setFilters({ [name]: event.target.value }) },
        options.map(([value, text]) => h("option", { key: value, value }, text)),
      ),
    );
  return h(
    "div",
    { className: "aby-filters", role: "group", "aria-label": "Filters" },
    select("range", "Time", Object.entries(RANGE_LABELS)),
    select("state", "State", Object.entries(STATE_FILTERS)),
    select("connection", "Airbyte connection", [["", "All connections"], ...names]),
    select("dag", "DAG", [["", "All DAGs"], ...dags.map((dag) => [dag, dag])]),
  );
}

function Alert({ isNotice = false, children }) {
  return h("p", { role: isNotice ? "note" : "alert", className: isNotice ? "aby-alert aby-notice" : "aby-alert" }, children);
}

function NothingYet({ filters, data, store }) {
  const isFiltered = filters.dag || filters.state || filters.connection;
  return h(
    "div",
    { className: "aby-empty" },
    h("p", null, h("strong", null, `No Airbyte sync: ${RANGE_LABELS[filters.range].toLowerCase()}.`)),
    h(
      "p",
      null,
      isFiltered
        ? "Remove a filter or choose a longer time."
        : "The page lists tasks with an AirbyteSyncOperator, of the DAGs that you may read. " +
            "Run one, for example the DAG example_airbyte, or choose a longer time.",
    ),
    data.total > 0 && h(LoadOlder, { data, store }),
  );
}

function LoadOlder({ data, store }) {
  return h(
    "div",
    { className: "aby-pager" },
    h("span", { className: "aby-muted" }, `The newest ${data.loaded} of ${data.total} task runs.`),
    data.loaded < data.total &&
      h(
        "button",
        { type: "button", className: "aby-button", disabled: data.isLoadingOlder, onClick: () => store.loadOlder() },
        data.isLoadingOlder ? "Loading …" : "Load older",
      ),
  );
}

// -- running ---------------------------------------------------------------------------------------------------------

function Running({ syncs, names, samples, store }) {
  const [shown, pager] = usePage(syncs, RUNNING_PER_PAGE, "running syncs");
  useEffect(() => store.wantDetails(shown));
  const now = useNow();
  if (syncs.length === 0) {
    return h(Section, { title: "Running now" }, h("p", { className: "aby-muted" }, "No sync is running."));
  }
  const columns = ["Connection", "Task", "Status", "Rows", "Data", "Rate", "Running for", "Job"];
  return h(
    Section,
    { title: "Running now" },
    h(
      Table,
      { columns, label: "Running syncs" },
      shown.map((sync) =>
        h(
          "tr",
          { key: sync.key },
          h("td", { "data-label": "Connection" }, h(ConnectionName, { sync, names })),
          h("td", { "data-label": "Task" }, h(SyncLinks, { sync })),
          h("td", { "data-label": "Status" }, h(Badge, { state: "running" }), statusText(sync)),
          h("td", { "data-label": "Rows", className: "aby-number" }, formatRows(sync.rows)),
          h("td", { "data-label": "Data", className: "aby-number" }, formatBytes(sync.bytes)),
          h("td", { "data-label": "Rate", className: "aby-number" }, formatRate(rowRate(sync, samples.get(sync.key)))),
          h(
            "td",
            { "data-label": "Running for", className: "aby-number" },
            formatDuration(now - (sync.jobStart ?? sync.start)),
          ),
          h("td", { "data-label": "Job" }, h(JobLink, { sync })),
        ),
      ),
    ),
    pager,
  );
}

function statusText(sync) {
  const status = sync.jobStatus && sync.jobStatus !== "running" ? ` ${sync.jobStatus}` : "";
  const attempt = sync.attempt > 1 ? ` attempt ${sync.attempt}` : "";
  return h("span", { className: "aby-muted" }, status + attempt);
}

function ConnectionName({ sync, names }) {
  const connection = names.find((each) => each.syncs.includes(sync));
  const name = connection?.name ?? sync.connectionName ?? sync.connectionId ?? sync.taskId;
  return h(ExternalLink, { href: connection?.url }, name);
}

// -- connections: timeline and freshness -----------------------------------------------------------------------------

function Connections({ connections, from, until, store, data }) {
  const [shown, pager] = usePage(connections, CONNECTIONS_PER_PAGE, "connections");
  const tooltip = useRef(() => {});
  // The newest sync of each connection has its name.
  useEffect(() => store.wantDetails(shown.map((each) => each.syncs.find((sync) => sync.source === "task")).filter(Boolean)));
  const zone = chosenTimeZone();
  const ticks = axisTicks(from, until, zoneOffset(until, zone));
  const margin = (until - from) * 0.04; // for a label that would leave the axis
  const show = (sync, element) => {
    if (sync) store.wantDetails([sync]);
    tooltip.current(sync ? { key: sync.key, box: element.getBoundingClientRect() } : null);
  };
  return h(
    Section,
    { title: "Connections" },
    h(
      "div",
      { className: "aby-timeline", role: "table", "aria-label": "Connections and their syncs" },
      h(
        "div",
        { role: "row", className: "aby-line aby-head" },
        h("span", { role: "columnheader" }, "Connection"),
        h(
          "span",
          { role: "columnheader", className: "aby-axis", "aria-label": "Timeline" },
          ticks.filter((tick) => tick - from > margin && until - tick > margin).map((tick) =>
            h("span", { key: tick, style: tickStyle(tick, from, until) }, formatTick(tick, until - from, zone)),
          ),
        ),
        h("span", { role: "columnheader" }, "Last success"),
        h("span", { role: "columnheader" }, "Freshness"),
      ),
      shown.map((connection) => h(ConnectionLine, { key: connection.key, connection, from, until, ticks, show })),
    ),
    pager,
    h(LoadOlder, { data, store }),
    h(Tooltip, { register: tooltip, syncs: data.syncs, now: until }),
  );
}

/** Rendered again only if the connection, one of its syncs or the window has changed: a page has hundreds of bars. */
const ConnectionLine = React.memo(renderConnectionLine, (one, other) => {
  const [before, after] = [one.connection, other.connection];
  return (
    one.from === other.from &&
    ["name", "url", "last", "interval", "status"].every((name) => before[name] === after[name]) &&
    before.syncs.length === after.syncs.length &&
    before.syncs.every((sync, index) => sync === after.syncs[index])
  );
});

function renderConnectionLine({ connection, from, until, ticks, show }) {
  const navigate = ReactRouterDOM.useNavigate();
  const bars = connection.syncs.filter((sync) => barPlace(sync, from, until) !== null).reverse();
  const [current, setCurrent] = useState(null);
  const line = useRef(null);
  const index = Math.max(0, current === null ? bars.length - 1 : bars.findIndex((sync) => sync.key === current));
  const onKeyDown = (event) => {
    if (event.key === "Escape") show(null);
    const next = nextIndex(index, bars.length, event.key);
    if (next === null) return;
    event.preventDefault();
    setCurrent(bars[next].key);
    line.current.querySelectorAll(".aby-bar")[next].focus();
  };
  const usual = connection.interval === null ? "" : `usually every ${formatInterval(connection.interval)}`;
  const title =
    connection.status === "late"
      ? `Late: the last success is more than ${LATE_AFTER} usual intervals ago.`
      : connection.status === "unknown"
        ? "Fewer than three successful syncs are loaded."
        : undefined;
  return h(
    "div",
    { role: "row", className: "aby-line" },
    h("span", { role: "rowheader", className: "aby-name" }, h(ExternalLink, { href: connection.url }, connection.name)),
    h(
      "span",
      { role: "cell", className: "aby-bars", ref: line, onKeyDown },
      ticks.map((tick) =>
        h("i", { key: tick, className: "aby-tick", style: tickStyle(tick, from, until) }),
      ),
      bars.map((sync, position) =>
        h(Bar, { key: sync.key, sync, from, until, show, navigate, tabIndex: position === index ? 0 : -1 }),
      ),
    ),
    h("span", { role: "cell" }, formatAgo(connection.last, until)),
    h(
      "span",
      { role: "cell" },
      h(Badge, { state: connection.status, title }),
      usual && h("div", { className: "aby-muted aby-usual" }, usual),
    ),
  );
}

function tickStyle(tick, from, until) {
  return { left: `${((tick - from) / (until - from)) * 100}%` };
}

function Bar({ sync, from, until, show, navigate, tabIndex }) {
  const place = barPlace(sync, from, until);
  const props = {
    className: `aby-bar aby-${sync.state}`,
    style: { left: `${place.left}%`, width: `${place.width}%` },
    tabIndex,
    "aria-label": `${sync.state}, ${formatTime(sync.start, until, chosenTimeZone())}, ${formatDuration((sync.end ?? until) - sync.start)}`,
    onMouseEnter: (event) => show(sync, event.currentTarget),
    onMouseLeave: () => show(null),
    onFocus: (event) => show(sync, event.currentTarget),
    onBlur: () => show(null),
  };
  if (sync.source === "task") {
    // Less work than a link of the router for each bar. With a modifier key, the browser follows the address.
    const onClick = (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      navigate(taskUrl(sync));
    };
    return h("a", { href: `${document.baseURI.replace(/\/$/, "")}${taskUrl(sync)}`, onClick, ...props });
  }
  return h("a", { href: sync.jobUrl ?? undefined, target: "_blank", rel: "noopener noreferrer", ...props });
}

function Tooltip({ register, syncs, now }) {
  const [target, setTarget] = useState(null);
  useEffect(() => {
    register.current = setTarget;
  }, [register]);
  const sync = target && syncs.find((each) => each.key === target.key);
  if (!sync) return null;
  const { box } = target;
  const isLow = box.bottom > window.innerHeight - 180;
  const style = {
    left: Math.max(8, Math.min(box.left, window.innerWidth - 328)),
    ...(isLow ? { bottom: window.innerHeight - box.top + 6 } : { top: box.bottom + 6 }),
  };
  const moved = [
    sync.rows === null ? null : `${formatRows(sync.rows)} rows`,
    sync.bytes === null ? null : formatBytes(sync.bytes),
    formatDuration((sync.end ?? now) - sync.start),
  ];
  const zone = chosenTimeZone();
  const lines = [
    `${formatTime(sync.start, now, zone)} – ${sync.end === null ? "now" : formatTime(sync.end, now, zone)}`,
    moved.filter(Boolean).join(", "),
    sync.source === "task" ? `${sync.dagId}.${sync.taskId}` : "Reported by an asset event",
    ["failed", "cancelled"].includes(sync.state) ? reasonText(sync) : null,
  ];
  return h(
    "div",
    { className: "aby-tooltip", role: "tooltip", style },
    h(Badge, { state: sync.state }),
    sync.jobId !== null && h("span", null, ` Job ${sync.jobId}`),
    lines.filter(Boolean).map((line, index) => h("div", { key: index }, line)),
  );
}

// -- failures --------------------------------------------------------------------------------------------------------

function Failures({ syncs, names, now, store }) {
  const [shown, pager] = usePage(syncs, FAILURES_PER_PAGE, "failures");
  useEffect(() => store.wantDetails(shown.filter((sync) => sync.source === "task")));
  if (syncs.length === 0) {
    return h(Section, { title: "Failed" }, h("p", { className: "aby-muted" }, "No sync has failed in this time."));
  }
  return h(
    Section,
    { title: "Failed" },
    h(
      Table,
      { columns: ["When", "Connection", "Task", "Why", "Job"], label: "Failed syncs" },
      shown.map((sync) =>
        h(
          "tr",
          { key: sync.key },
          h("td", { "data-label": "When", className: "aby-when" }, formatTime(endOf(sync), now, chosenTimeZone())),
          h("td", { "data-label": "Connection" }, h(ConnectionName, { sync, names })),
          h("td", { "data-label": "Task" }, h(SyncLinks, { sync })),
          h(
            "td",
            { "data-label": "Why", className: "aby-why" },
            sync.state === "cancelled" && h(Badge, { state: "cancelled" }),
            ` ${reasonText(sync)}`,
            sync.willRetry && h("span", { className: "aby-muted" }, " Airflow will retry the task."),
          ),
          h("td", { "data-label": "Job" }, h(JobLink, { sync })),
        ),
      ),
    ),
    pager,
  );
}

function Limits() {
  return h(
    "details",
    { className: "aby-limits" },
    h("summary", null, "What this page cannot know"),
    h(
      "ul",
      null,
      h(
        "li",
        null,
        "Syncs that Airbyte's own schedule or a person started: Airflow does not know them. Add a watcher " +
          "(AirbyteSyncEventTrigger) or the webhook, and they appear here once they have finished.",
      ),
      h("li", null, "Syncs of DAGs that you may not read."),
      h("li", null, "What an earlier attempt of a task moved: the task's next attempt replaces the numbers."),
      h(
        "li",
        null,
        "The usual interval and the last success of a connection count only the syncs that are loaded. " +
          "Choose a longer time or load older task runs.",
      ),
    ),
  );
}

// -- parts -----------------------------------------------------------------------------------------------------------

function Section({ title, children }) {
  return h("section", { className: "aby-section", "aria-label": title }, h("h2", null, title), children);
}

function Table({ columns, label, children }) {
  return h(
    "table",
    { className: "aby-table", "aria-label": label },
    h("thead", null, h("tr", null, columns.map((name) => h("th", { key: name, scope: "col" }, name)))),
    h("tbody", null, children),
  );
}

/** The items of one page, and the buttons to turn it. */
function usePage(items, size, what) {
  const [page, setPage] = useState(0);
  const last = Math.max(0, Math.ceil(items.length / size) - 1);
  const current = Math.min(page, last);
  const shown = items.slice(current * size, (current + 1) * size);
  if (last === 0) return [shown, null];
  const button = (text, target) =>
    h(
      "button",
      { type: "button", className: "aby-button", disabled: target < 0 || target > last, onClick: () => setPage(target) },
      text,
    );
  const pager = h(
    "div",
    { className: "aby-pager" },
    button("Previous", current - 1),
    h("span", null, `${current * size + 1}–${current * size + shown.length} of ${items.length} ${what}`),
    button("Next", current + 1),
  );
  return [shown, pager];
}
