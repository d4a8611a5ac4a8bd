"use strict";

// Asks the admin API every few seconds and shows what it says. Text is only ever set as text.

const EVERY_MS = 3000;
const byId = (id) => document.getElementById(id);
let token = sessionStorage.getItem("shardd-token") || "";

class NeedsToken extends Error {}

async function ask(path) {
  const headers = token ? { Authorization: "Bearer " + token } : {};
  const response = await fetch(path, { headers, cache: "no-store" });
  if (response.status === 401) throw new NeedsToken();
  if (!response.ok) throw new Error((await response.json()).detail || response.statusText);
  return response.json();
}

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function bytes(count) {
  if (count === undefined || count === null) return "";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) { count /= 1024; unit += 1; }
  return (unit === 0 ? count : count.toFixed(1)) + " " + units[unit];
}

function duration(seconds) {
  const days = Math.floor(seconds / 86400), hours = Math.floor(seconds / 3600) % 24, minutes = Math.floor(seconds / 60) % 60;
  if (days) return days + " d " + hours + " h";
  if (hours) return hours + " h " + minutes + " min";
  return minutes ? minutes + " min " + (seconds % 60) + " s" : seconds + " s";
}

function showOverview(status) {
  byId("version").textContent = status.version;
  const state = byId("state");
  state.textContent = status.state + ": " + status.shards_up + " of " + status.shards + " shards up";
  state.className = status.state === "serving" ? "" : "bad";
  const lines = [["Database", status.database], ["Epoch", status.epoch], ["Uptime", duration(status.uptime_seconds)]];
  for (const [name, address] of Object.entries(status.listeners)) lines.push(["Listens for " + name, address]);
  for (const keyspace of status.keyspaces) {
    if (!keyspace.internal) lines.push(["Keyspace " + keyspace.keyspace, "by " + keyspace.key_column + " (" + keyspace.key_type + ") on " + keyspace.shards + " shards"]);
  }
  byId("overview").replaceChildren(...lines.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

function row(cells) {
  const made = document.createElement("tr");
  cells.forEach(([text, className], index) => {
    const cell = element(index === 0 ? "th" : "td", text, className);
    if (index === 0) cell.scope = "row";
    made.append(cell);
  });
  return made;
}

function showShards(shards) {
  byId("shards").replaceChildren(...shards.map((shard) => row([
    [shard.shard],
    [shard.state + (shard.error ? ": " + shard.error : ""), shard.state === "up" ? "" : "bad"],
    [shard.slots.map((part) => part.keyspace + " " + part.slots).join(", "), "number"],
    [shard.weight, "number"],
    [bytes(shard.size_bytes), "number"],
    [shard.url],
  ])));
}

function showTables(tables) {
  byId("tables").replaceChildren(...tables.map((table) => row([
    [table.table],
    [table.kind],
    [table.keyspace],
    [table.key_column ? table.key_column + " (" + table.key_type + ")" : ""],
    [table.columns, "number"],
  ])));
}

async function refresh() {
  try {
    const [status, shards, tables] = await Promise.all([ask("/v1/status"), ask("/v1/shards"), ask("/v1/tables")]);
    byId("login").hidden = true;
    showOverview(status);
    showShards(shards);
    showTables(tables);
  } catch (error) {
    const state = byId("state");
    state.className = "bad";
    if (error instanceof NeedsToken) {
      state.textContent = token ? "The token is wrong" : "A token is needed";
      if (byId("login").hidden) { byId("login").hidden = false; byId("token").focus(); }
      return;
    }
    state.textContent = "No answer: " + error.message;
  }
}

async function keepRefreshing() {
  await refresh();
  setTimeout(keepRefreshing, EVERY_MS);
}

byId("login-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value;
  sessionStorage.setItem("shardd-token", token);
  byId("token").value = "";
  refresh();
});

keepRefreshing();
