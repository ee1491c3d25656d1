// Builds: ask for one, watch it, cancel it.

import { events, json, post, remove } from "./api.js";

const $ = (id) => document.getElementById(id);
const ENDED = ["done", "failed", "cancelled"];
const watched = new Map();

/** Return the body of POST /v1/builds that a form describes. */
export function bodyOf({ dataset, by, T, duration, split, seed }) {
  const spec =
    by === "duration" ? { split_by: by, duration: Number(duration) } : { split_by: by, T: Number(T) };
  const body = { dataset: dataset.trim(), spec, seed: Number(seed) },
    part = split.trim();
  if (part) body.split = Number.isNaN(Number(part)) ? part : Number(part);
  return body;
}

/** Return how far a build is, in a line. */
export function lineOf(build) {
  const spec = Object.entries(build.spec)
    .filter(([, value]) => value !== null)
    .map(([, value]) => value)
    .join(" ");
  const far =
    build.state === "running" && build.total ? ` ${build.stage ?? ""} ${build.done} of ${build.total}` : "";
  return `${build.dataset} ${spec}: ${build.state}${far}${build.error ? `: ${build.error.message}` : ""}`;
}

/** Wire the form. @param allowed whether the service builds; @param done called when a build has made a cache */
export function setup(allowed, done) {
  $("b-form").hidden = !allowed;
  $("b-none").hidden = allowed;
  if (!allowed) return;
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
  const timed = $("b-by").value === "duration";
  $("b-T").disabled = timed;
  $("b-duration").disabled = !timed;
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
