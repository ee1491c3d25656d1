// Builds: ask for one, watch it, cancel it.

import { events, json, post, remove } from "./api.js";

const $ = (id) => document.getElementById(id);
const ENDED = ["done", "failed", "cancelled"];
const watched = new Map();

/** Return the body of POST /v1/builds that a form describes. */
export function bodyOf({ dataset, by, T, duration, plugin, params, split, seed }) {
  const spec = { split_by: by };
  if (by === "duration") spec.duration = Number(duration);
  else if (by === "plugin") Object.assign(spec, { plugin, params: paramsOf(params) });
  else spec.T = Number(T);
  const body = { dataset: dataset.trim(), spec, seed: Number(seed) },
    part = split.trim();
  if (part) body.split = Number.isNaN(Number(part)) ? part : Number(part);
  return body;
}

/** Return what "NAME=VALUE NAME=VALUE" says, as `dvsprep frames --param` takes it: a value is JSON or text. */
function paramsOf(text) {
  const params = {};
  for (const part of text.split(/\s+/).filter(Boolean)) {
    const [, name, value] = part.match(/^(\w+)=(.*)$/) ?? [];
    if (!name) throw new Error(`${part}: expected NAME=VALUE, for example T=8`);
    try {
      params[name] = JSON.parse(value);
    } catch {
      params[name] = value;
    }
  }
  return params;
}

/** Return a function's name without its folder, and its arguments, in words. */
export function functionOf({ plugin, params }) {
  const args = Object.entries(params).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return [plugin.split("/").at(-1), ...args].join(" ");
}

/** Return how far a build is, in a line. */
export function lineOf(build) {
  const spec = build.spec.plugin ? functionOf(build.spec) : Object.values(build.spec).join(" ");
  const far =
    build.state === "running" && build.total ? ` ${build.stage ?? ""} ${build.done} of ${build.total}` : "";
  return `${build.dataset} ${spec}: ${build.state}${far}${build.error ? `: ${build.error.message}` : ""}`;
}

/**
 * Wire the form.
 * @param allowed whether the service builds
 * @param plugins the functions it runs; without any, none is offered
 * @param done called when a build has made a cache
 */
export function setup(allowed, plugins, done) {
  $("b-form").hidden = !allowed;
  $("b-none").hidden = allowed;
  if (!allowed) return;
  if (plugins.length) $("b-by").append(new Option("function", "plugin"));
  $("b-plugin").replaceChildren(...plugins.map((name) => new Option(functionOf({ plugin: name, params: {} }), name)));
  $("b-by").addEventListener("input", forms);
  forms();
  $("b-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    $("b-told").textContent = "";
    try {
      const build = await post("v1/builds", bodyOf(Object.fromEntries(new FormData($("b-form")))));
      watch(build, done);
    } catch (error) {
      $("b-told").textContent = error.message;
    }
  });
  json("v1/builds").then(
    ({ builds }) => {
      for (const build of builds.slice(-5)) {
        if (ENDED.includes(build.state)) row(build);
        else watch(build, done);
      }
    },
    (error) => {
      $("b-told").textContent = error.message;
    },
  );
}

function forms() {
  const by = $("b-by").value;
  $("b-T").disabled = !["number", "time"].includes(by);
  $("b-duration").disabled = by !== "duration";
  for (const label of document.querySelectorAll(".b-function")) label.hidden = by !== "plugin";
}

function row(build) {
  let item = document.getElementById(`build-${build.id}`);
  if (!item) {
    item = $("b-list").insertBefore(document.createElement("li"), $("b-list").firstChild);
    item.id = `build-${build.id}`;
    const line = document.createElement("span"),
      bar = document.createElement("progress");
    const cancel = document.createElement("button");
    Object.assign(cancel, { type: "button", textContent: "Cancel" });
    cancel.addEventListener("click", async () => {
      try {
        await remove(`v1/builds/${build.id}`);
      } catch (error) {
        $("b-told").textContent = error.message;
      }
    });
    line.setAttribute("role", "status");
    item.append(line, bar, cancel);
  }
  const [line, bar, cancel] = item.children,
    ended = ENDED.includes(build.state);
  line.textContent = lineOf(build);
  item.title = (build.says ?? []).join("\n");
  item.dataset.state = build.state;
  bar.hidden = cancel.hidden = ended;
  bar.setAttribute("aria-label", `progress of ${build.dataset}`);
  if (build.total) Object.assign(bar, { max: build.total, value: build.done });
  else bar.removeAttribute("value");
}

async function watch(build, done) {
  row(build);
  if (watched.has(build.id)) return;
  watched.set(build.id, true);
  let last = build;
  try {
    for await (last of events(`v1/builds/${build.id}/events`)) row(last);
    if (last.state === "done") done();
  } catch (error) {
    $("b-told").textContent = error.message;
  } finally {
    watched.delete(build.id);
  }
}
