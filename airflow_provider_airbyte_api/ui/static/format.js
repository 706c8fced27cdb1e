// Numbers and times as text. Pure functions: the time is an argument.

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Returns an integer with separators, or "–" if it is unknown. */
export function formatRows(rows) {
  return isNumber(rows) ? Math.round(rows).toLocaleString("en-US") : "–";
}

/** Returns a size in decimal units, or "–" if it is unknown. */
export function formatBytes(bytes) {
  if (!isNumber(bytes)) return "–";
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

/** Returns a duration in its two largest units, such as "1 h 5 min", or "–" if it is unknown. */
export function formatDuration(ms) {
  if (!isNumber(ms)) return "–";
  const seconds = Math.max(0, Math.round(ms / 1000));
  const parts = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  if (first < 0) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(" ");
}

/** Returns a usual interval: in whole minutes if it is longer than ten of them. */
export function formatInterval(ms) {
  return formatDuration(ms > 600_000 ? Math.round(ms / 60_000) * 60_000 : ms);
}

/** Returns how long ago a time was, such as "5 min ago". */
export function formatAgo(time, now) {
  if (!isNumber(time)) return "–";
  return now - time < 1000 ? "now" : `${formatDuration(now - time).replace(/ (\d+ s)$/, "")} ago`;
}

/** Returns a time as the clock of a time zone shows it, such as "14:05:09". Without a zone, it is that of the browser. */
export function formatClock(time, timeZone) {
  return formatterOf("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZone }).format(time);
}

/** Returns a time without seconds, with the date unless it is today. */
export function formatTime(time, now, timeZone) {
  if (!isNumber(time)) return "–";
  const clock = formatClock(time, timeZone).slice(0, 5);
  const day = formatDay(time, timeZone);
  return day === formatDay(now, timeZone) ? clock : `${day}, ${clock}`;
}

/** Returns the label of a time on an axis that is `length` milliseconds long: a time of day, or a date. */
export function formatTick(time, length, timeZone) {
  return length > 26 * 3600 * 1000 ? formatDay(time, timeZone) : formatClock(time, timeZone).slice(0, 5);
}

function formatDay(time, timeZone) {
  return formatterOf("en-US", { month: "short", day: "numeric", timeZone }).format(time);
}

const formatters = new Map(); // to create one takes longer than to use it a hundred times

function formatterOf(locale, options) {
  const key = `${locale} ${Object.keys(options)} ${options.timeZone}`;
  if (!formatters.has(key)) formatters.set(key, new Intl.DateTimeFormat(locale, options));
  return formatters.get(key);
}

/** Returns the milliseconds by which the clock of a time zone is ahead of UTC. */
export function zoneOffset(time, timeZone) {
  const [date, clock] = new Date(time).toLocaleString("sv-SE", { timeZone }).split(" ");
  return Date.parse(`${date}T${clock}Z`) - Math.floor(time / 1000) * 1000;
}

/** Returns a rate, such as "1,200 rows/s", or "–" if it is unknown. */
export function formatRate(rowsPerSecond) {
  return isNumber(rowsPerSecond) ? `${formatRows(rowsPerSecond)} rows/s` : "–";
}

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}
