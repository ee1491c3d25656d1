// The page: what is served, the samples of one cache, and the player. What is shown is in the address (#cache=..&sample=..).

import { ask, hasToken, json, onToken } from "./api.js";
import { Cache, select } from "./cache.js";
import { Grid } from "./grid.js";
import { Player } from "./player.js";
import { classBars, histogramPlot } from "./plots.js";
import * as builds from "./builds.js";

const $ = (id) => document.getElementById(id);
const opened = new Map();
let listed = [],
  cache = null,
  chosen = new Set(),
  indices = [],
  plots = [];

const grid = new Grid($("grid"), (i) => go({ cache: cache.id, sample: i }));
const player = new Player({
  openCache,
  others: ({ id, facts }) =>
    listed.filter(
      (other) => other.id !== id && other.dataset === facts.dataset && other.split === facts.split,
    ),
  neighbour: (by) => {
    const at = indices.indexOf(player.i) + by;
    if (at >= 0 && at < indices.length) go({ cache: cache.id, sample: indices[at] });
  },
  closed: () => {
    if (state().sample !== undefined) go({ cache: cache.id });
    const at = indices.indexOf(player.i);
    if (at >= 0) grid.focus(at);
  },
});

// -- address --

function state() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

function go(to) {
  location.hash = new URLSearchParams(to).toString();
}

async function openCache(id) {
  if (!opened.has(id)) opened.set(id, Cache.open(id));
  try {
    return await opened.get(id);
  } catch (error) {
    opened.delete(id);
    throw error;
  }
}

async function route() {
  const { cache: id, sample } = state(),
    asked = location.hash,
    stale = () => location.hash !== asked; // the user went on while a cache was opened
  if (!id) return;
  try {
    if (cache?.id !== id) {
      const found = await open(id);
      if (stale()) return;
      show(found);
    }
    if (sample !== undefined && cache?.id === id) {
      if (!(Number(sample) < cache.length)) throw new Error(`${id}: there is no sample ${sample}`);
      await player.show(cache, Number(sample));
    } else if (player.dialog.open) player.dialog.close();
  } catch (error) {
    if (!stale()) tell(error.message);
  }
}

function tell(text) {
  $("told").textContent = text;
  $("told").hidden = !text;
}

// -- what is served --

const size = (bytes) => {
  const units = ["B", "kB", "MB", "GB", "TB"],
    at = bytes ? Math.min(4, Math.floor(Math.log10(bytes) / 3)) : 0;
  return `${(bytes / 1000 ** at).toPrecision(at ? 3 : 1 + Math.floor(Math.log10(bytes || 1)))} ${units[at]}`;
};

const specOf = ({ spec, kind }) =>
  kind === "events" || !spec
    ? "events"
    : spec.plugin
      ? builds.functionOf(spec)
      : Object.entries(spec)
          .map(([k, v]) => (k === "split_by" ? v : `${k}=${v}`))
          .join(" ");

async function list() {
  const told = await json("v1/caches");
  listed = told.caches;
  $("version").textContent = told.version;
  const byDataset = Map.groupBy(listed, ({ dataset }) => dataset);
  $("caches").replaceChildren(...[...byDataset].map(([dataset, found]) => section(dataset, found)));
  $("b-datasets").replaceChildren(...[...byDataset.keys()].map((name) => new Option(name, name)));
  $("refused").hidden = !told.refused.length;
  $("refused")
    .querySelector("ul")
    .replaceChildren(...told.refused.map(({ id, why }) => item(`${id}: ${why}`)));
  if (!listed.length)
    tell("No finished cache lies below this service's roots. `dvsprep frames NAME` makes one.");
  mark();
  return told;
}

function item(text) {
  const li = document.createElement("li");
  li.textContent = text;
  return li;
}

function section(dataset, found) {
  const box = document.createElement("section"),
    head = document.createElement("h3"),
    ul = document.createElement("ul");
  const samples = found.reduce((sum, one) => sum + one.samples, 0),
    bytes = found.reduce((sum, one) => sum + one.bytes, 0);
  head.textContent = dataset;
  const small = head.appendChild(document.createElement("small"));
  small.textContent = ` ${found.length} ${found.length === 1 ? "cache" : "caches"}, ${samples.toLocaleString()} samples, ${size(bytes)}`;
  ul.append(
    ...found.map((one) => {
      const li = document.createElement("li"),
        link = li.appendChild(document.createElement("a"));
      link.href = `#${new URLSearchParams({ cache: one.id })}`;
      link.dataset.id = one.id;
      const name = link.appendChild(document.createElement("span")),
        facts = link.appendChild(document.createElement("small"));
      name.textContent = `${specOf(one)} · ${one.split}`;
      facts.textContent = `${one.samples.toLocaleString()} samples · ${size(one.bytes)}`;
      return li;
    }),
  );
  box.append(head, ul);
  return box;
}

function mark() {
  for (const link of $("caches").querySelectorAll("a")) {
    if (link.dataset.id === cache?.id) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

// -- one cache --

async function open(id) {
  $("main").setAttribute("aria-busy", "true");
  tell("");
  try {
    return await openCache(id);
  } finally {
    $("main").removeAttribute("aria-busy");
  }
}

function show(found) {
  cache = found;
  chosen = new Set();
  $("search").value = "";
  $("cache").hidden = false;
  const { facts } = cache,
    [H, W] = facts.sensor;
  $("title").textContent = `${facts.dataset} ${specOf(facts)}`;
  $("summary").textContent =
    `${facts.split} · ${cache.length.toLocaleString()} samples · ${cache.classes.length} classes · ` +
    `${W} × ${H} · ${facts.events.total.toLocaleString()} events · ${size(facts.bytes)}`;
  document.title = `${$("title").textContent} – dvsprep`;
  classBars($("classes"), cache, chosen, (label) => {
    if (!chosen.delete(label)) chosen.add(label);
    filter();
  });
  snippets();
  mark();
  filter();
  if (matchMedia("(max-width: 700px)").matches) $("side").open = false;
  statistics();
}

function filter() {
  indices = select(cache, chosen, $("search").value);
  grid.show(cache, indices);
  $("clear").hidden = !chosen.size && !$("search").value;
  $("count").textContent =
    indices.length === cache.length
      ? `${indices.length.toLocaleString()} samples`
      : `${indices.length.toLocaleString()} of ${cache.length.toLocaleString()} samples`;
}

function statistics() {
  for (const plot of plots.splice(0)) plot.destroy();
  if (!$("statistics").open || !cache) return;
  const seconds = Array.from(cache.labels, (_, i) => cache.seconds(i));
  plots.push(histogramPlot($("s-events"), cache.n_events, "events per sample"));
  plots.push(histogramPlot($("s-seconds"), seconds, "seconds per sample"));
  plots.push(
    histogramPlot(
      $("s-rate"),
      seconds.map((s, i) => (s > 0 ? cache.n_events[i] / s : 0)),
      "events per second",
    ),
  );
}

function snippets() {
  const { facts, url } = cache,
    { spec } = facts;
  const lines = {
    Python: `source = dvsprep.open("${url}")`,
    Train: `python -m train.dvsg --cache ${url}`,
    Fetch: `dvsprep pull ${url}`,
  };
  if (facts.kind === "frames" && spec && !spec.plugin) {
    const how = spec.duration ? `--duration ${spec.duration}` : `-T ${spec.T}`;
    lines.Rebuild = `dvsprep frames ${facts.dataset} --split-by ${spec.split_by} ${how}${spec.tail === "drop" ? " --tail drop" : ""}`;
  }
  $("snippets").replaceChildren(
    ...Object.entries(lines).map(([name, line]) => {
      const li = document.createElement("li"),
        button = document.createElement("button"),
        code = document.createElement("code");
      Object.assign(button, { type: "button", textContent: `Copy ${name}` });
      code.textContent = line;
      button.addEventListener("click", () => copy(code, name));
      li.append(button, code);
      return li;
    }),
  );
}

async function copy(code, name) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    $("copied").textContent = `${name} line copied`;
  } catch {
    // no clipboard without TLS on other hosts: then the line is marked, for the user to copy
    getSelection().selectAllChildren(code);
    $("copied").textContent = `${name} line marked: press Ctrl+C`;
  }
}

function askToken() {
  return new Promise((done) => {
    const dialog = $("token");
    dialog.addEventListener(
      "close",
      () => {
        done(dialog.returnValue === "ok" ? $("t-value").value.trim() : null);
        $("t-value").value = "";
      },
      { once: true },
    );
    dialog.returnValue = "";
    dialog.showModal();
  });
}

/** Show what a link leads to: following it would send no token, and the browser would ask for a password. */
async function showText(link) {
  try {
    const answer = await ask(link.href),
      text = await answer.text();
    $("x-title").textContent = link.textContent;
    $("text").querySelector("pre").textContent = answer.headers.get("Content-Type").includes("json")
      ? JSON.stringify(JSON.parse(text), null, 1)
      : text;
    $("text").showModal();
  } catch (error) {
    tell(error.message);
  }
}

// -- begin --

onToken(askToken);
addEventListener("hashchange", route);
$("texts").addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || !hasToken()) return;
  event.preventDefault();
  showText(link);
});
$("x-close").addEventListener("click", () => $("text").close());
$("search").addEventListener("input", filter);
$("clear").addEventListener("click", () => {
  chosen.clear();
  $("search").value = "";
  for (const bar of $("classes").children) bar.setAttribute("aria-pressed", "false");
  filter();
});
$("g-palette").addEventListener("input", () => {
  grid.repaint($("g-palette").value);
  $("p-palette").value = $("g-palette").value;
});
$("statistics").addEventListener("toggle", statistics);
if (matchMedia("(max-width: 700px)").matches && state().cache) $("side").open = false;
try {
  const told = await list();
  builds.setup(told.builds, told.plugins, list);
  const first = listed.find(({ kind }) => kind === "frames") ?? listed[0];
  if (!state().cache && first) history.replaceState(null, "", `#${new URLSearchParams({ cache: first.id })}`);
  await route();
} catch (error) {
  tell(error.message);
}
document.documentElement.dataset.ready = "yes";
