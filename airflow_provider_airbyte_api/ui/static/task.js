// The tab "Airbyte Sync" of a task instance.

import { getDetail, getJson, taskPath } from "./api.js";
import { Badge, ExternalLink, JobLink, Styles, chosenTimeZone, h, useNow } from "./elements.js";
import { formatBytes, formatDuration, formatRate, formatRows, formatTime } from "./format.js";
import { connectionUrl, explainError, reasonText, rowRate, toSync } from "./model.js";
import { IDLE_INTERVAL, RUNNING_INTERVAL } from "./store.js";

const { React } = globalThis;
const { useEffect, useState } = React;

export function SyncTab({ dagId, runId, taskId, mapIndex }) {
  const [data, setData] = useState({ sync: null, tries: [], error: null, hasLoaded: false });
  const index = Number.parseInt(mapIndex, 10) >= 0 ? Number.parseInt(mapIndex, 10) : -1;
  useEffect(() => {
    let timer;
    let isGone = false;
    const refresh = async () => {
      let isRunning = false;
      if (!document.hidden) {
        const next = await load({ dag_id: dagId, dag_run_id: runId, task_id: taskId, map_index: index });
        if (isGone) return;
        setData((previous) => (next.error ? { ...previous, error: next.error } : next));
        isRunning = next.sync?.state === "running";
      }
      timer = setTimeout(refresh, isRunning ? RUNNING_INTERVAL : IDLE_INTERVAL);
    };
    refresh();
    return () => {
      isGone = true;
      clearTimeout(timer);
    };
  }, [dagId, runId, taskId, index]);
  return h(
    "main",
    { className: "aby" },
    h(Styles),
    data.error && h("p", { role: "alert", className: "aby-alert" }, explainError(data.error)),
    !data.hasLoaded && !data.error && h("p", { role: "status", className: "aby-empty" }, "Loading the sync …"),
    data.hasLoaded && data.sync === null && h("p", { className: "aby-empty" }, "The task has not started a sync yet."),
    data.sync && h(Sync, data),
  );
}

async function load(key) {
  try {
    const [row, detail, tries] = await Promise.all([
      getJson(taskPath(key)),
      getDetail(key),
      getJson(`${taskPath(key)}/tries`),
    ]);
    return { sync: toSync(row, detail), tries: tries.task_instances, error: null, hasLoaded: true };
  } catch (error) {
    if (error.kind === undefined) console.error(error);
    return { error };
  }
}

function Sync({ sync, tries }) {
  const now = useNow();
  const zone = chosenTimeZone();
  const hasFailed = ["failed", "cancelled"].includes(sync.state);
  const facts = [
    ["State", h(Badge, { state: sync.state })],
    ["Airbyte connection", h(ExternalLink, { href: connectionUrl(sync.jobUrl) }, sync.connectionName ?? sync.connectionId)],
    ["Job", h(JobLink, { sync })],
    ["Status in Airbyte", sync.jobStatus],
    ["Attempt in Airbyte", sync.attempt],
    ["Rows", formatRows(sync.rows)],
    ["Data", formatBytes(sync.bytes)],
    ["Rate", formatRate(rowRate(sync))],
    ["Started", formatTime(sync.start, now, zone)],
    [sync.end === null ? "Running for" : "Duration", formatDuration((sync.end ?? now) - sync.start)],
    ["Why it failed", hasFailed ? reasonText(sync) : null],
  ];
  const earlier = tries.filter((each) => each.try_number < sync.tryNumber);
  return h(
    React.Fragment,
    null,
    h(
      "dl",
      { className: "aby-facts" },
      facts
        .filter(([, value]) => value !== null && value !== undefined)
        .map(([name, value]) => h(React.Fragment, { key: name }, h("dt", null, name), h("dd", null, value))),
    ),
    earlier.length > 0 &&
      h(
        "section",
        { className: "aby-section", "aria-label": "Earlier attempts of the task" },
        h("h2", null, "Earlier attempts of the task"),
        h(
          "ul",
          null,
          earlier.map((each) =>
            h(
              "li",
              { key: each.try_number },
              `Attempt ${each.try_number}: ${each.state ?? "unknown"}, ${formatTime(Date.parse(each.start_date), now, zone)}, ` +
                formatDuration(each.duration === null ? NaN : each.duration * 1000),
            ),
          ),
        ),
      ),
  );
}
