"use strict";
// Without this script, the page shows the same facts. It adds the theme and the links of Airflow's UI, and fresh data.
(() => {
  const root = document.documentElement;

  // Airflow's UI, if the page is in its frame.
  let host = null;
  try {
    if (parent !== window) host = parent.document;
  } catch {
    host = null;
  }

  // Follow the theme of Airflow's UI, with its own colors, so that an administrator's theme counts too.
  const TOKENS = { bg: "bg", fg: "fg", mute: "fg-muted", line: "border-emphasized", link: "fg-info" };
  const followTheme = () => {
    const ui = host.documentElement;
    const dark = ui.classList.contains("dark") || ui.dataset.theme === "dark";
    root.classList.toggle("dark", dark);
    root.classList.toggle("light", !dark);
    const style = getComputedStyle(ui);
    for (const [ours, theirs] of Object.entries(TOKENS)) {
      const color = style.getPropertyValue(`--chakra-colors-${theirs}`);
      if (color) root.style.setProperty(`--${ours}`, color);
    }
    if (host.body) root.style.setProperty("--font", getComputedStyle(host.body).fontFamily);
  };
  if (host) {
    followTheme();
    new MutationObserver(followTheme).observe(host.documentElement, {
      attributes: true,
      attributeFilter: ["class", "data-theme", "style"],
    });
  }

  // The frame may neither navigate the page around it nor open a window, so a link of that page does it.
  const follow = (event) => {
    const link = event.target.closest && event.target.closest("a[href]");
    if (!link || !host || event.defaultPrevented || event.button > 1) return;
    event.preventDefault();
    const twin = host.createElement("a");
    twin.href = link.href;
    if ("outside" in link.dataset || event.ctrlKey || event.metaKey || event.shiftKey || event.button === 1) {
      twin.target = "_blank";
      twin.rel = "noopener noreferrer";
    }
    host.body.append(twin);
    twin.click();
    twin.remove();
  };
  addEventListener("click", follow);
  addEventListener("auxclick", follow);

  // The cursor of a picture, by pointer and by arrow keys: the number of the point at which it is.
  const at = new WeakMap();
  const numbers = (text) => text.split(" ").map(Number);
  const pointsOf = (chart) => chart.dataset.points.split(";").map(numbers);
  const lastUntil = (points, seconds) => {
    const later = points.findIndex(([time]) => time > seconds);
    return later < 0 ? Infinity : later - 1;
  };
  const show = (chart, index) => {
    const points = pointsOf(chart);
    const i = Math.max(0, Math.min(points.length - 1, index));
    at.set(chart, i);
    const [seconds, usd] = points[i];
    const [fromSeconds, toSeconds, left, right] = numbers(chart.dataset.across);
    const [fromUsd, toUsd, bottom, top] = numbers(chart.dataset.up);
    const x = left + ((right - left) * (seconds - fromSeconds)) / (toSeconds - fromSeconds);
    const y = bottom + ((top - bottom) * (usd - fromUsd)) / (toUsd - fromUsd);
    const cursor = chart.querySelector(".cursor");
    cursor.setAttribute("visibility", "visible");
    cursor.children[0].setAttribute("transform", `translate(${x} 0)`);
    cursor.children[1].setAttribute("transform", `translate(${x} ${y})`);
    const when = new Date(seconds * 1000).toLocaleString("en-GB", {
      day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZone: "UTC",
    });
    const amount = Math.abs(usd).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
    const value = `${when} UTC: ${usd < 0 ? "-" : ""}$${amount}`;
    chart.parentElement.querySelector(".readout").textContent = value;
    chart.setAttribute("aria-valuenow", i);
    chart.setAttribute("aria-valuetext", value);
  };
  addEventListener("pointermove", (event) => {
    const chart = event.target.closest && event.target.closest(".chart[data-points]");
    if (!chart) return;
    const box = chart.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * chart.viewBox.baseVal.width;
    const [fromSeconds, toSeconds, left, right] = numbers(chart.dataset.across);
    const seconds = fromSeconds + ((toSeconds - fromSeconds) * (x - left)) / (right - left);
    show(chart, lastUntil(pointsOf(chart), seconds));
  });
  addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const chart = document.activeElement.closest(".chart[data-points]");
    if (!step || !chart) return;
    event.preventDefault();
    show(chart, at.has(chart) ? at.get(chart) + step * (event.shiftKey ? 10 : 1) : Infinity);
  });

  // Fresh data takes the place of the old, and leaves the focus and the cursors where they are.
  const focusable = () => [...document.querySelectorAll("main a, main [tabindex]")];
  const charts = (main) => [...main.querySelectorAll(".chart[data-points]")];
  const keepCursors = (old, fresh) => {
    const twins = charts(fresh);
    charts(old).forEach((chart, number) => {
      if (!at.has(chart) || !twins[number]) return;
      const [seconds] = pointsOf(chart)[at.get(chart)];
      show(twins[number], lastUntil(pointsOf(twins[number]), seconds));
    });
  };
  // A screen reader reads out each alert that is put into the page, so only a new one stays an alert.
  const keepQuiet = (old, fresh) => {
    const text = (alert) => {
      const copy = alert.cloneNode(true);
      for (const time of copy.querySelectorAll("time")) time.remove();
      return copy.textContent;
    };
    const known = [...old.querySelectorAll(".alert")].map(text);
    for (const alert of fresh.querySelectorAll("[role=alert]")) {
      if (known.includes(text(alert))) alert.removeAttribute("role");
    }
  };
  const replace = (old, fresh) => {
    const index = focusable().indexOf(document.activeElement);
    const label = index < 0 ? "" : document.activeElement.outerHTML;
    keepCursors(old, fresh);
    keepQuiet(old, fresh);
    old.replaceWith(fresh);
    const again = focusable();
    const same = again.find((each) => each.outerHTML === label) || again[index];
    if (same) same.focus({ preventScroll: true });
  };

  // Read the page again while it is visible, unless the viewer has selected text.
  const PATIENCE = 20000;
  let last = Date.now();
  let reading = false;
  const hasSelection = () => String(getSelection()) !== "";
  const every = () => 1000 * document.querySelector("main").dataset.every;
  const say = (text) => {
    const age = document.querySelector(".age");
    if (age.textContent !== text) age.textContent = text;
  };
  const read = async () => {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(new TypeError("no answer")), PATIENCE);
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: controller.signal });
      if (answer.status === 401) throw new Error("you are signed out");
      if (!answer.ok) throw new Error(`Airflow answered ${answer.status}`);
      return new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main[data-every]");
    } finally {
      clearTimeout(timer);
    }
  };
  const refresh = async () => {
    if (reading || document.hidden || Date.now() - last < every()) return;
    if (hasSelection()) {
      say("Paused while text is selected.");
      return;
    }
    reading = true;
    try {
      const fresh = await read();
      if (!fresh) throw new Error("Airflow answered with another page");
      // Whoever has begun to select text in the meantime keeps it.
      if (!hasSelection()) replace(document.querySelector("main"), fresh);
    } catch (error) {
      const why = error instanceof TypeError ? "Airflow does not answer" : error.message;
      say(`Not up to date: ${why}.`);
    } finally {
      last = Date.now();
      reading = false;
    }
  };
  const begin = () => {
    // A page with nothing but a sentence stays as it is.
    if (!document.querySelector("main[data-every]")) return;
    setInterval(refresh, 1000);
    document.addEventListener("visibilitychange", refresh);
  };
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", begin);
  else begin();
})();
