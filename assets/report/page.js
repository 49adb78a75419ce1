"use strict";
(() => {
  const MOST_PICKS = 8;
  const RELOAD_SECONDS = 30;
  const CHART_DELAY_MS = 120;
  const NOTHING = "–";

  // ---------------------------------------------------------------- theme

  // Storage is denied to some pages opened from disk; the theme is then kept until the page closes.
  const storedTheme = {
    key: "rookie-theme",
    get() {
      try {
        return localStorage.getItem(this.key);
      } catch {
        return null;
      }
    },
    set(theme) {
      try {
        localStorage.setItem(this.key, theme);
      } catch {
        /* see above */
      }
    },
  };

  const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

  function themeIsDark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : systemIsDark.matches;
  }

  // Runs before the body is parsed, so that the page never shows in the wrong colours.
  const stored = storedTheme.get();
  if (stored === "dark" || stored === "light") document.documentElement.dataset.theme = stored;

  function startTheme(changed) {
    const button = byId("theme");
    const label = () => {
      button.textContent = themeIsDark() ? "Light theme" : "Dark theme";
    };
    const refresh = () => {
      label();
      changed();
    };
    button.addEventListener("click", () => {
      const theme = themeIsDark() ? "light" : "dark";
      document.documentElement.dataset.theme = theme;
      storedTheme.set(theme);
      refresh();
    });
    systemIsDark.addEventListener("change", refresh);
    button.hidden = false;
    label();
  }

  /** A colour of the style sheet as the canvas understands it; `light-dark()` is only resolved on an element. */
  function cssColour(name) {
    const probe = document.createElement("span");
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
  }

  // ---------------------------------------------------------------- small helpers

  const byId = id => document.getElementById(id);

  function element(tag, { text, ...properties } = {}, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    if (text !== undefined) node.textContent = text;
    node.append(...children);
    return node;
  }

  /** Leaves a text that has not changed alone, so that it isn't read aloud again. */
  function setText(id, text) {
    if (byId(id).textContent !== text) byId(id).textContent = text;
  }

  /** Unlike `disabled`, keeps the focus where it is when a button has done all it can. */
  function setDisabled(id, isDisabled) {
    byId(id).setAttribute("aria-disabled", String(isDisabled));
  }

  function debounce(action, milliseconds) {
    let timer;
    return () => {
      clearTimeout(timer);
      timer = setTimeout(action, milliseconds);
    };
  }

  const isNumber = value => typeof value === "number" && Number.isFinite(value);
  const plural = (count, one, many) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
  /** To two decimals, as everywhere in rookie: what lies halfway, as 78.125 does, goes to the even digit. */
  function twoDecimals(percent) {
    const eighths = (percent * 8) % 4; // only odd eighths lie halfway
    return (eighths === 1 ? percent - 0.005 : percent).toFixed(2);
  }
  const roundPercent = fraction => Number(twoDecimals(100 * fraction));
  const showPercent = fraction => (isNumber(fraction) ? `${twoDecimals(100 * fraction)} %` : NOTHING);

  /** Spreads run `index` over −0.5…0.5; neighbours land far from each other, and always at the same place. */
  const spread = index => ((index * 0.6180339887 + 0.5) % 1) - 0.5;

  function median(numbers) {
    const sorted = [...numbers].sort((a, b) => a - b);
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  function showMinutes(seconds) {
    if (seconds < 60) return `${Math.round(seconds)} s`;
    const minutes = Math.round(seconds / 60);
    return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  }

  // ---------------------------------------------------------------- columns

  /**
   * What each kind of column shows. `filtered` is the number that filters compare, in the unit shown and rounded as
   * shown, so that a filter never contradicts what the reader sees; sorting uses the exact value.
   */
  const KINDS = {
    number: { filtered: value => value, shown: String, parse: parseNumber, example: "0.2" },
    percent: { filtered: roundPercent, shown: showPercent, parse: parsePercent, example: "90" },
    duration: {
      filtered: seconds => (seconds < 60 ? seconds / 60 : Math.round(seconds / 60)),
      shown: showMinutes,
      parse: parseMinutes,
      example: "90",
    },
    text: { filtered: String, shown: String, example: "relu" },
  };

  function makeColumns(data) {
    const column = (key, label, kind, value, extra) => {
      const values = data.runs.map((run, index) => orNull(value(run, index), kind));
      const filtered = values.map(one => (one === null ? null : KINDS[kind].filtered(one)));
      return { key, label, kind, values, filtered, shown: KINDS[kind].shown, ...extra };
    };
    return [
      column("rank", "rank", "number", run => run.rank),
      ...data.axes.map((axis, at) => axisColumn(column, axis, at)),
      column("test_accuracy", "test accuracy", "percent", run => run.test_accuracy, {
        detail: testInterval,
        best: "high",
      }),
      column("validation_accuracy", "validation accuracy", "percent", run => run.validation_accuracy, {
        best: "high",
      }),
      column("validation_rank", "validation rank", "number", run => run.validation_rank),
      column("best_epoch", "best epoch", "number", run => run.best_epoch),
      column("epochs", "epochs", "number", run => run.epochs),
      column("status", "status", "text", run => run.status, { detail: run => run.reason }),
      column("seconds", "time", "duration", run => run.seconds),
      column("run", "run", "text", run => run.name),
    ];
  }

  function axisColumn(column, axis, at) {
    const numeric = axis.values.every(value => isNumber(parseNumber(value)));
    const value = run => (numeric ? parseNumber(run.values[at]) : run.values[at]);
    const asWritten = run => run.values[at];
    return column(`axis.${axis.key}`, axis.key, numeric ? "number" : "text", value, { axis, at, asWritten });
  }

  function orNull(value, kind) {
    if (kind === "text") return value || null;
    return isNumber(value) ? value : null;
  }

  function testInterval(run) {
    if (!isNumber(run.test_low) || !isNumber(run.test_high)) return "";
    return `${twoDecimals(100 * run.test_low)}–${twoDecimals(100 * run.test_high)}`;
  }

  // ---------------------------------------------------------------- filters

  function parseNumber(text) {
    return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : NaN;
  }

  function parsePercent(text) {
    return parseNumber(text.replace(/\s*%$/, ""));
  }

  function parseMinutes(text) {
    if (text === "") return NaN;
    const parts = /^(?:(\d+\.?\d*) ?h)? ?(?:(\d+\.?\d*) ?min)? ?(?:(\d+\.?\d*) ?s)?$/.exec(text);
    if (!parts) return parseNumber(text);
    const [hours, minutes, seconds] = parts.slice(1).map(part => Number(part ?? 0));
    return hours * 60 + minutes + seconds / 60;
  }

  /** One alternative of a numeric filter as the numbers it lets pass, or null where it is not understood. */
  function parseRange(text, parse) {
    const ends = text.split("..");
    if (ends.length === 2) {
      const [low, high] = ends.map(end => parse(end.trim()));
      return low <= high ? { low, high } : null;
    }
    const [, operator, rest] = /^(<=|>=|[<>=≤≥]?)(.*)$/s.exec(text);
    const number = parse(rest.trim());
    if (!isNumber(number)) return null;
    switch (operator) {
      case "<":
        return { low: -Infinity, high: number, highOpen: true };
      case ">":
        return { low: number, high: Infinity, lowOpen: true };
      case "<=":
      case "≤":
        return { low: -Infinity, high: number };
      case ">=":
      case "≥":
        return { low: number, high: Infinity };
      default:
        return { low: number, high: number };
    }
  }

  const isInRange = (number, { low, high, lowOpen, highOpen }) =>
    (lowOpen ? number > low : number >= low) && (highOpen ? number < high : number <= high);

  function parseText(text) {
    if (text.startsWith("=")) {
      const whole = text.slice(1).trim();
      return value => (value ?? "") === whole;
    }
    const part = text.toLowerCase();
    return value => value !== null && value.toLowerCase().includes(part);
  }

  /** A filter as `{ passes, ranges }`; `ranges` only where the column is numeric. Null where it is not understood. */
  function parseFilter(text, { kind }) {
    const alternatives = text
      .split("|")
      .map(part => part.trim())
      .filter(part => part !== "");
    if (alternatives.length === 0) return null;
    if (kind === "text") {
      const tests = alternatives.map(parseText);
      return { passes: value => tests.some(test => test(value)) };
    }
    const ranges = alternatives.map(part => parseRange(part, KINDS[kind].parse));
    if (ranges.includes(null)) return null;
    return { ranges, passes: value => value !== null && ranges.some(range => isInRange(value, range)) };
  }

  function explain({ kind, label }, text) {
    const { example } = KINDS[kind];
    const examples =
      kind === "text" ? `${example} or =${example}` : `${example}, >${example}, <=${example} or 0..${example}`;
    const shown = text.length > 40 ? `${text.slice(0, 40)}…` : text;
    return `The filter “${shown}” of “${label}” is not understood and not applied. Write for example ${examples}.`;
  }

  // ---------------------------------------------------------------- state, and the address that holds it

  const freshState = () => ({
    sort: { key: "rank", descending: false },
    filters: new Map(),
    picks: null, // names, "" for an empty place; null, for the first two, until the reader picks
    page: 1,
    pageSize: 25,
    paused: false,
  });

  function writeHash(state) {
    const fields = new URLSearchParams();
    const { sort } = state;
    if (sort.key !== "rank" || sort.descending) fields.set("sort", (sort.descending ? "-" : "") + sort.key);
    for (const [key, text] of state.filters) fields.set(key, text);
    for (const name of state.picks?.length === 0 ? [""] : (state.picks ?? [])) fields.append("pick", name);
    if (state.page > 1) fields.set("page", state.page);
    if (state.pageSize !== 25) fields.set("rows", state.pageSize);
    if (state.paused) fields.set("paused", "1");
    return fields.toString();
  }

  /** Whatever in the address is not understood is left out: it may be of another grid or mistyped. */
  function readHash(hash, columns, runs) {
    const fields = new URLSearchParams(hash.replace(/^#/, ""));
    const state = freshState();
    const sort = fields.get("sort") ?? "";
    const key = sort.replace(/^-/, "");
    if (columns.some(column => column.key === key)) state.sort = { key, descending: sort.startsWith("-") };
    for (const column of columns) {
      const text = (fields.get(column.key) ?? "").trim();
      if (text) state.filters.set(column.key, text);
    }
    if (fields.has("pick")) {
      const names = new Set(runs.map(run => run.name));
      const picks = fields.getAll("pick").slice(0, MOST_PICKS);
      state.picks = picks.map((name, place) => (names.has(name) && picks.indexOf(name) === place ? name : ""));
    }
    const page = Number(fields.get("page"));
    if (Number.isInteger(page) && page > 0) state.page = page;
    if (["50", "100", "500"].includes(fields.get("rows"))) state.pageSize = Number(fields.get("rows"));
    state.paused = fields.get("paused") === "1";
    return state;
  }

  /** Holds the state and what follows from it, and tells the views when either changes. */
  function makeStore(data, columns) {
    const views = [];
    let state = readHash(location.hash, columns, data.runs);

    const store = {
      data,
      columns,
      filters: new Map(),
      passing: [],
      order: [],
      get state() {
        return state;
      },
      onChange(view) {
        views.push(view);
      },
      change(changes) {
        if ("sort" in changes || "filters" in changes) changes = { page: 1, ...changes };
        state = { ...state, ...changes };
        refresh();
      },
      setFilter(key, text) {
        const filters = new Map(state.filters);
        if (text.trim()) filters.set(key, text.trim());
        else filters.delete(key);
        store.change({ filters });
      },
      picks() {
        return state.picks ?? data.firstPicks;
      },
      togglePick(name) {
        const picks = store.picks();
        const next = picks.includes(name) ? picks.map(pick => (pick === name ? "" : pick)) : withPick(picks, name);
        if (next.length <= MOST_PICKS) store.change({ picks: next });
        else
          setText(
            "count",
            `${MOST_PICKS} runs are picked, the most that can be distinguished. Clear one to pick another.`,
          );
      },
    };

    function refresh() {
      derive(store);
      views.forEach(view => view());
    }

    store.refresh = refresh;
    return store;
  }

  function keepInAddress(store) {
    let written = location.hash;
    store.onChange(
      debounce(() => {
        const hash = writeHash(store.state);
        // Browsers limit how often this may be called and forbid it in some frames; the view works without.
        try {
          history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
        } catch {
          return;
        }
        written = location.hash;
      }, 200),
    );
    addEventListener("hashchange", () => {
      if (location.hash === written) return;
      written = location.hash;
      store.change(readHash(location.hash, store.columns, store.data.runs));
    });
  }

  /** A dropped pick leaves an empty place, so that the others keep their colours; the next pick takes it. */
  function withPick(picks, name) {
    const empty = picks.indexOf("");
    return empty < 0 ? [...picks, name] : picks.map((pick, place) => (place === empty ? name : pick));
  }

  function derive(store) {
    const { columns, state, data } = store;
    store.filters = new Map();
    for (const column of columns) {
      const text = state.filters.get(column.key);
      if (text) store.filters.set(column.key, parseFilter(text, column));
    }
    const applied = columns.filter(column => store.filters.get(column.key));
    const passes = index => applied.every(column => store.filters.get(column.key).passes(column.filtered[index]));
    store.passes = data.runs.map((_, index) => passes(index));
    store.passing = data.runs.map((_, index) => index).filter(index => store.passes[index]);
    const sortColumn = columns.find(column => column.key === state.sort.key);
    store.order = [...store.passing].sort(comparison(sortColumn, state.sort.descending));
  }

  const collator = new Intl.Collator("en", { numeric: true });

  /** Runs without a value come last in either direction; equal ones keep their rank. */
  function comparison({ values, kind }, descending) {
    const sign = descending ? -1 : 1;
    const compare = kind === "text" ? collator.compare : (a, b) => a - b;
    return (a, b) => {
      if (values[a] === null || values[b] === null) return (values[a] === null) - (values[b] === null) || a - b;
      return sign * compare(values[a], values[b]) || a - b;
    };
  }

  // ---------------------------------------------------------------- table

  function startTable(store) {
    const boxes = new Map();
    for (const column of store.columns) {
      byId("headings").append(makeHeading(store, column));
      byId("filters").append(makeFilterCell(store, column, boxes));
    }
    byId("clear-filters").addEventListener("click", () => store.change({ filters: new Map() }));
    byId("clear-picks").addEventListener("click", () => store.change({ picks: [] }));
    startPages(store);
    store.onChange(() => {
      renderHeadings(store);
      renderFilters(store, boxes);
      renderPages(store);
      renderRows(store);
      renderCount(store);
    });
  }

  const cellClass = ({ key, kind }) =>
    key === "rank" || key === "run" ? key : kind === "text" ? "text" : "number";

  function makeHeading(store, column) {
    const button = element("button", { type: "button", text: column.label });
    button.addEventListener("click", () => {
      const { sort } = store.state;
      const descending = sort.key === column.key ? !sort.descending : column.best === "high";
      store.change({ sort: { key: column.key, descending } });
    });
    const heading = element("th", { scope: "col", className: cellClass(column) }, button);
    heading.dataset.column = column.key;
    return heading;
  }

  function makeFilterCell(store, column, boxes) {
    const box = element("input", { type: "text", autocomplete: "off", spellcheck: false, maxLength: 200 });
    box.setAttribute("aria-label", `Filter ${column.label}`);
    box.setAttribute("aria-describedby", "filter-help");
    box.dataset.column = column.key;
    box.addEventListener("input", () => store.setFilter(column.key, box.value));
    box.addEventListener("keydown", event => {
      if (event.key === "Escape") {
        box.value = "";
        store.setFilter(column.key, "");
      }
    });
    boxes.set(column.key, box);
    return element("td", { className: cellClass(column) }, box);
  }

  function renderHeadings({ state: { sort } }) {
    for (const heading of byId("headings").children) {
      const sorted = heading.dataset.column === sort.key;
      heading.setAttribute("aria-sort", sorted ? (sort.descending ? "descending" : "ascending") : "none");
    }
  }

  function renderFilters(store, boxes) {
    const errors = [];
    for (const column of store.columns) {
      const box = boxes.get(column.key);
      const text = store.state.filters.get(column.key) ?? "";
      if (box.value.trim() !== text) box.value = text;
      const isBad = store.filters.get(column.key) === null;
      if (isBad) errors.push(explain(column, text));
      box.setAttribute("aria-invalid", String(isBad));
    }
    byId("filter-error").hidden = errors.length === 0;
    setText("filter-error", errors.join(" "));
    setDisabled("clear-filters", store.state.filters.size === 0);
  }

  function renderCount({ passing, filters, data: { runs } }) {
    const all = plural(runs.length, "run", "runs");
    const verb = passing.length === 1 ? "passes" : "pass";
    setText(
      "count",
      filters.size === 0 ? `${all}.` : `${passing.length.toLocaleString("en")} of ${all} ${verb} the filters.`,
    );
    byId("runs").dataset.passing = passing.length;
  }

  function renderRows(store) {
    const {
      state: { page, pageSize },
      order,
    } = store;
    const picks = new Set(store.picks());
    const rows = order.slice((page - 1) * pageSize, page * pageSize).map(index => makeRow(store, index, picks));
    const focused = document.activeElement?.dataset?.pick;
    byId("rows").replaceChildren(...rows);
    if (focused !== undefined)
      rows
        .map(row => row.querySelector("input"))
        .find(box => box.dataset.pick === focused)
        ?.focus();
    setDisabled("clear-picks", !store.picks().some(Boolean));
  }

  function makeRow(store, index, picks) {
    const run = store.data.runs[index];
    const cells = store.columns.map(column =>
      column.key === "rank" ? makeRankCell(store, index, picks.has(run.name)) : makeCell(column, run, index),
    );
    const row = element("tr", { className: picks.has(run.name) ? "picked" : "" }, ...cells);
    row.dataset.run = run.name;
    return row;
  }

  function makeRankCell(store, index, picked) {
    const { name } = store.data.runs[index];
    const box = element("input", { type: "checkbox", checked: picked });
    box.dataset.pick = name;
    box.setAttribute("aria-label", `Draw the curves of ${name}`);
    box.addEventListener("change", () => {
      store.togglePick(name);
      box.checked = store.picks().includes(name);
    });
    const rank = store.columns[0].values[index];
    return element("td", { className: "rank" }, element("label", {}, box, String(rank ?? NOTHING)));
  }

  function makeCell(column, run, index) {
    const value = column.values[index];
    const text = value === null ? NOTHING : column.asWritten ? column.asWritten(run) : column.shown(value);
    const cell = element(column.key === "run" ? "th" : "td", { className: cellClass(column), text });
    if (column.key === "run") cell.scope = "row";
    if (column.key === "status" && run.status !== "done") cell.classList.add("not-done");
    const detail = column.detail?.(run);
    if (detail) cell.append(element("span", { className: "detail", text: detail }));
    return cell;
  }

  function startPages(store) {
    const move = by => store.change({ page: store.state.page + by });
    byId("previous").addEventListener("click", () => move(-1));
    byId("next").addEventListener("click", () => move(1));
    byId("page-size").addEventListener("change", event =>
      store.change({ page: 1, pageSize: Number(event.target.value) }),
    );
  }

  function renderPages(store) {
    const { state, order } = store;
    const pages = Math.max(1, Math.ceil(order.length / state.pageSize));
    state.page = Math.min(Math.max(1, state.page), pages);
    setText("page-number", `Page ${state.page} of ${pages}`);
    setDisabled("previous", state.page === 1);
    setDisabled("next", state.page === pages);
    byId("page-size").value = String(state.pageSize);
    byId("pages").hidden = store.data.runs.length <= 25;
  }

  // ---------------------------------------------------------------- charts

  /** Okabe and Ito's colours, without those that are too pale or too dark for the theme. */
  const RUN_COLOURS = {
    light: ["#0072b2", "#d55e00", "#009e73", "#a8487f", "#1c1f23", "#b87a00", "#3390c6", "#7a6a00"],
    dark: ["#56b4e9", "#e69f00", "#2fc79b", "#e495c0", "#f0e442", "#f07b3f", "#e6e8ea", "#4f9fdc"],
  };

  /** The part of the plasma colour map that shows on the theme's ground; the last colour stands for the best. */
  const SCALE_COLOURS = {
    light: ["#d8762a", "#d8576b", "#a82296", "#5c01a6", "#0d0887"],
    dark: ["#b23a97", "#d8576b", "#ed7953", "#fdb42f", "#f0f921"],
  };

  /** One mark for each pick, in a box of 10 by 10, for the charts and the legend alike. */
  const MARKS = [
    "M5 0A5 5 0 1 0 5 10A5 5 0 1 0 5 0Z",
    "M0.5 0.5H9.5V9.5H0.5Z",
    "M5 0L10 9.5H0Z",
    "M5 0L10 5L5 10L0 5Z",
    "M0 0.5H10L5 10Z",
    "M3.5 0H6.5V3.5H10V6.5H6.5V10H3.5V6.5H0V3.5H3.5Z",
    "M0.5 0L10 5L0.5 10Z",
    "M2 0L5 3L8 0L10 2L7 5L10 8L8 10L5 7L2 10L0 8L3 5L0 2Z",
  ];

  function currentTheme() {
    const name = themeIsDark() ? "dark" : "light";
    const colours = ["text", "muted", "line", "ground", "surface", "raised", "control", "accent", "faint"];
    return {
      name,
      runs: RUN_COLOURS[name],
      scale: SCALE_COLOURS[name],
      ...Object.fromEntries(colours.map(colour => [colour, cssColour(colour)])),
    };
  }

  function baseOption(theme) {
    return {
      animation: false,
      backgroundColor: "transparent",
      textStyle: { color: theme.text, fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 12 },
      tooltip: {
        renderMode: "richText", // HTML in a tooltip would need every name escaped
        confine: true,
        backgroundColor: theme.raised,
        borderColor: theme.control,
        borderWidth: 1,
        padding: 8,
        textStyle: { color: theme.text, fontSize: 12 },
        transitionDuration: 0,
      },
    };
  }

  function axisOption(theme, name) {
    return {
      type: "value",
      name,
      nameLocation: "middle",
      nameTextStyle: { color: theme.muted, fontSize: 12 },
      axisLine: { show: true, onZero: false, lineStyle: { color: theme.control } },
      axisTick: { show: true, lineStyle: { color: theme.control } },
      axisLabel: { color: theme.muted, fontSize: 12, hideOverlap: true },
      splitLine: { lineStyle: { color: theme.line } },
    };
  }

  /** An axis with the values of a hyper-parameter at 0, 1, 2, …, in equal steps whatever their size. */
  function ordinalAxis(theme, { values }) {
    const places = values.map((_, place) => place);
    const base = axisOption(theme, undefined);
    return {
      ...base,
      min: -0.5,
      max: values.length - 0.5,
      axisTick: { ...base.axisTick, customValues: places },
      axisLabel: { ...base.axisLabel, customValues: places, formatter: place => shorten(values[place] ?? "", 14) },
      splitLine: { show: false },
      minorTick: { show: false },
    };
  }

  /** An axis of numbers from low to high. */
  function scaledAxis(theme, { low, high, log }) {
    return { ...axisOption(theme), type: log ? "log" : "value", min: low, max: high };
  }

  /** Where a number lies on a scale, from 0 to 1, and the reverse. */
  const shareOf = ({ low, high, log }, number) =>
    log ? Math.log(number / low) / Math.log(high / low) : (number - low) / (high - low);
  const numberAt = ({ low, high, log }, share) => (log ? low * (high / low) ** share : low + share * (high - low));

  // Braces and bars would be read as markup of ECharts' rich text.
  function shorten(text, length) {
    const plain = text.replace(/[{}|\n]/g, " ");
    return plain.length <= length ? plain : `${plain.slice(0, length / 2)}…${plain.slice(1 - length / 2)}`;
  }

  /** Charts on a page of a few hundred runs redraw quickly, but not as quickly as someone types. */
  function drawLater(store, draw) {
    store.onChange(debounce(draw, CHART_DELAY_MS));
  }

  function makeChart(container, resized) {
    const chart = echarts.init(container);
    let width = container.clientWidth;
    new ResizeObserver(() => {
      if (container.clientWidth === 0 || container.clientWidth === width) return;
      width = container.clientWidth;
      chart.resize();
      resized?.();
    }).observe(container);
    return chart;
  }

  function describe(chart, text) {
    chart.getDom().setAttribute("aria-label", text);
  }

  function showOrExplain(name, explanation) {
    byId(`${name}-empty`).hidden = !explanation;
    byId(`${name}-empty`).textContent = explanation ?? "";
    byId(`${name}-body`).hidden = Boolean(explanation);
    return !explanation;
  }

  // ---------------------------------------------------------------- curves

  function startCurves(store) {
    let charts;
    byId("thinned").textContent = store.data.thinned ?? "";
    byId("thinned").hidden = !store.data.thinned;
    const draw = () => {
      const picks = pickedRuns(store);
      renderLegend(store, picks);
      const drawn = picks.filter(pick => !pick.absence);
      if (!showOrExplain("curves", whyNoCurves(store, picks, drawn))) return;
      charts ??= makeCurveCharts();
      drawCurves(charts.loss, drawn, "loss");
      drawCurves(charts.accuracy, drawn, "accuracy");
    };
    drawLater(store, draw);
    return draw;
  }

  function makeCurveCharts() {
    const charts = { loss: makeChart(byId("chart-loss")), accuracy: makeChart(byId("chart-accuracy")) };
    echarts.connect(Object.values(charts));
    return charts;
  }

  /** The picks with the place of each, which gives its colour and mark, and why it is not drawn where it isn't. */
  function pickedRuns(store) {
    const { runs, curves } = store.data;
    return store
      .picks()
      .map((name, place) => {
        const index = runs.findIndex(run => run.name === name);
        const absence = !curves[index] ? "has no curve" : !store.passes[index] ? "hidden by the filters" : null;
        return { name, place, curve: curves[index], absence };
      })
      .filter(({ name }) => name);
  }

  function whyNoCurves({ data: { runs } }, picks, drawn) {
    if (runs.length === 0) return "No run has ended yet.";
    if (picks.length === 0) return "No run is picked. Tick runs in the ranking to compare their curves.";
    if (drawn.length === 0) return "Of the picked runs, none has a curve and passes the filters.";
    return null;
  }

  function renderLegend(store, picks) {
    const theme = currentTheme();
    byId("legend").replaceChildren(
      ...picks.map(pick => {
        const drop = element("button", { type: "button", text: "Drop" });
        drop.setAttribute("aria-label", `Drop ${pick.name}`);
        drop.addEventListener("click", () => {
          store.togglePick(pick.name);
          byId("curves").focus();
        });
        const note = pick.absence ? [element("span", { className: "muted", text: `(${pick.absence})` })] : [];
        return element(
          "li",
          {},
          makeSwatch(theme.runs[pick.place], MARKS[pick.place]),
          element("span", { text: pick.name }),
          ...note,
          drop,
        );
      }),
    );
    byId("legend").hidden = picks.length === 0;
  }

  function makeSwatch(colour, mark) {
    const make = (tag, attributes) => {
      const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
      return node;
    };
    const swatch = make("svg", { viewBox: "0 0 30 10", width: 30, height: 10, "aria-hidden": "true" });
    swatch.append(
      make("path", { d: "M0 5H30", stroke: colour, "stroke-width": 2 }),
      make("path", { d: mark, fill: colour, transform: "translate(10 0)" }),
    );
    return swatch;
  }

  function drawCurves(chart, drawn, measure) {
    const theme = currentTheme();
    const series = drawn.flatMap(pick =>
      ["train", "validation"].map(split => curveSeries(theme, pick, split, measure, drawn.length > 3 ? 5 : 10)),
    );
    const base = baseOption(theme);
    const epochs = axisOption(theme, "epoch");
    chart.setOption(
      {
        ...base,
        grid: { left: 64, right: 24, top: 16, bottom: 82 },
        xAxis: {
          ...epochs,
          nameGap: 26,
          min: "dataMin",
          max: "dataMax",
          splitLine: { show: false },
          axisLabel: { ...epochs.axisLabel, formatter: epoch => (Number.isInteger(epoch) ? epoch : "") },
        },
        yAxis: {
          ...axisOption(theme, MEASURES[measure].axis),
          nameGap: 46,
          scale: true,
          max: MEASURES[measure].max,
        },
        dataZoom: zoomOption(theme),
        tooltip: { ...base.tooltip, trigger: "axis", formatter: lines => curveTooltip(lines, drawn, measure) },
        series,
      },
      { replaceMerge: ["series"] },
    );
    chart.getDom().dataset.curves = series.length;
    describe(chart, describeCurves(drawn, measure));
  }

  function zoomOption(theme) {
    return {
      type: "slider",
      height: 22,
      bottom: 8,
      left: 64,
      right: 24,
      showDetail: false,
      brushSelect: false,
      borderColor: theme.control,
      fillerColor: theme.name === "dark" ? "#6cb8f030" : "#00609c20",
      handleStyle: { color: theme.surface, borderColor: theme.accent },
      moveHandleStyle: { color: theme.control },
      dataBackground: { lineStyle: { color: theme.faint }, areaStyle: { color: theme.faint, opacity: 0.2 } },
      selectedDataBackground: {
        lineStyle: { color: theme.accent },
        areaStyle: { color: theme.accent, opacity: 0.2 },
      },
    };
  }

  const MEASURES = {
    loss: { axis: "loss (nats)", scaled: loss => loss, shown: loss => loss.toPrecision(4) },
    accuracy: {
      axis: "accuracy (%)",
      scaled: fraction => fraction * 100,
      shown: percent => `${twoDecimals(percent)} %`,
      max: ({ max }) => (max > 95 ? 100 : null), // an axis to 105 % would puzzle
    },
  };

  function curvePoints(curve, split, measure) {
    const { scaled } = MEASURES[measure];
    const epochs = split === "train" ? curve.epoch : curve.validation_epoch;
    const values = curve[`${split}_${measure}`];
    return epochs.map((epoch, at) => [epoch, isNumber(values[at]) ? scaled(values[at]) : null]);
  }

  function curveSeries(theme, pick, split, measure, marks) {
    const points = curvePoints(pick.curve, split, measure);
    const colour = theme.runs[pick.place];
    const isTrain = split === "train";
    return {
      type: "line",
      id: `${pick.place} ${split}`,
      name: `${pick.name} ${split}`,
      data: withMarks(points, pick.place, marks),
      symbol: "none",
      itemStyle: { color: isTrain ? colour : theme.surface, borderColor: colour, borderWidth: 1.5 },
      lineStyle: { color: colour, width: 1.75, type: isTrain ? "solid" : [6, 4] },
      emphasis: { disabled: true },
    };
  }

  /** Some points of a curve carry its mark, at other epochs for each pick so that marks of like curves part. */
  function withMarks(points, place, marks) {
    const step = Math.max(1, Math.round(points.length / marks));
    const first = Math.floor((step * (place + 0.5)) / MOST_PICKS);
    return points.map((value, at) =>
      at % step === first ? { value, symbol: `path://${MARKS[place]}`, symbolSize: 8 } : value,
    );
  }

  function curveTooltip(lines, drawn, measure) {
    const epoch = lines[0].axisValue;
    const rows = drawn.map(({ name, place, curve }) => {
      const line = lines.find(({ seriesId }) => seriesId.startsWith(`${place} `));
      if (!line) return null;
      const [train, validation] = ["train", "validation"].map(split => {
        const value = curvePoints(curve, split, measure).findLast(([at]) => at <= epoch)?.[1];
        return isNumber(value) ? MEASURES[measure].shown(value) : NOTHING;
      });
      return `${line.marker}${shorten(name, 26)}  ${train} · ${validation}`;
    });
    return [`epoch ${epoch}: training · latest validation`, ...rows.filter(Boolean)].join("\n");
  }

  function describeCurves(drawn, measure) {
    const last = (curve, split) => {
      const value = curvePoints(curve, split, measure).at(-1)?.[1];
      return isNumber(value) ? MEASURES[measure].shown(value) : "none";
    };
    const runs = drawn.map(
      ({ name, curve }) => `${name}: training ${last(curve, "train")}, validation ${last(curve, "validation")}`,
    );
    return `Line chart of ${measure} over epochs of ${plural(drawn.length, "run", "runs")}. At the end, ${runs.join("; ")}.`;
  }

  // ---------------------------------------------------------------- parallel coordinates

  const BRUSH_REACH = 0.3; // of the step between two values, to either side
  const BRUSH_OPACITY = 0.25;
  const BRUSH_Z = 10000; // the level on which ECharts draws brushes
  const LINE_SPREAD = 0.3; // so that lines through the same values part; less than what a brush covers

  function startParallel(store) {
    const axes = parallelAxes(store);
    let chart;
    let brushColour;
    const draw = () => {
      if (!showOrExplain("parallel", whyNoParallel(store))) return;
      if (!chart) {
        chart = makeChart(byId("chart-parallel"), draw);
        chart.setOption(parallelLayout(currentTheme(), chart, axes)); // brushes need axes to be on
        chart.on("rendered", () => colourBrushes(chart, brushColour));
        fillFiltersFromBrushes(store, chart, axes);
        pickOnClick(store, chart);
      }
      brushColour = cssColour("accent");
      drawParallel(store, chart, axes);
    };
    drawLater(store, draw);
    return draw;
  }

  function whyNoParallel({ data: { runs, axes } }) {
    if (runs.length === 0) return "No run has ended yet.";
    if (axes.length === 0) return "No hyper-parameter varies within this grid, so there is nothing to compare.";
    return null;
  }

  /** The hyper-parameters and the two accuracies, each with where every run lies on it (null: nowhere). */
  function parallelAxes({ columns, data }) {
    return columns
      .filter(({ axis, key }) => axis || key === "validation_accuracy" || key === "test_accuracy")
      .sort(
        (a, b) =>
          Boolean(b.axis) - Boolean(a.axis) ||
          (b.key === "validation_accuracy") - (a.key === "validation_accuracy"),
      )
      .map(column => {
        if (isOrdinal(column)) return ordinalPlaces(column, data.runs);
        return column.axis ? { column, places: column.filtered, ...column.axis.scale } : percentPlaces(column);
      });
  }

  /** Whether an axis has a place for each value; what a search draws from a range lies on a scale instead. */
  const isOrdinal = ({ axis }) => Boolean(axis) && !axis.scale;

  function ordinalPlaces(column, runs) {
    const places = placesOf(column, runs);
    return {
      column,
      places: places.map((place, index) => (place === null ? null : place + LINE_SPREAD * spread(index))),
    };
  }

  function placesOf({ axis, at }, runs) {
    const placeOf = new Map(axis.values.map((value, place) => [value, place]));
    return runs.map(run => placeOf.get(run.values[at]) ?? null);
  }

  function percentPlaces(column) {
    const known = column.filtered.filter(isNumber);
    if (known.length === 0) return { column, places: column.filtered, low: 0, high: 100 };
    const [lowest, highest] = extent(known);
    const margin = Math.max(0.05, (highest - lowest) * 0.03);
    return {
      column,
      places: column.filtered,
      low: Math.max(0, lowest - margin),
      high: Math.min(100, highest + margin),
    };
  }

  // Math.min(...numbers) overflows the stack with very many numbers.
  const extent = numbers =>
    numbers.reduce(([low, high], one) => [Math.min(low, one), Math.max(high, one)], [Infinity, -Infinity]);

  function drawParallel(store, chart, axes) {
    const theme = currentTheme();
    setBrushes(store, chart, axes); // they show when the chart is next drawn
    chart.setOption(
      {
        ...parallelLayout(theme, chart, axes),
        visualMap: scaleOption(store, theme, axes.length, isNarrow(chart)),
        series: parallelSeries(store, theme, axes),
      },
      { replaceMerge: ["series", "visualMap"] },
    );
    describeParallel(store, chart);
  }

  const isNarrow = chart => chart.getWidth() < 640;

  /** On a narrow screen the axes lie flat, one below the other. */
  function parallelLayout(theme, chart, axes) {
    const flat = isNarrow(chart);
    const base = baseOption(theme);
    const scores = axes.slice(-2); // validation and test accuracy
    const show = ({ column, places }, index) =>
      `${column.label}: ${isNumber(places[index]) ? `${twoDecimals(places[index])} %` : NOTHING}`;
    return {
      ...base,
      tooltip: {
        ...base.tooltip,
        formatter: ({ name, data }) =>
          [shorten(name, 40), ...scores.map(score => show(score, data.index))].join("\n"),
      },
      parallel: flat
        ? { layout: "vertical", left: 16, right: 24, top: 40, bottom: 88 }
        : { layout: "horizontal", left: 48, right: 56, top: 48, bottom: 68 },
      parallelAxis: axes.map((axis, dim) => parallelAxisOption(theme, axis, dim, flat)),
    };
  }

  function parallelAxisOption(theme, axis, dim, flat) {
    const { column, low, high } = axis;
    const name = shorten(column.axis ? column.label : `${column.label} (%)`, 24);
    const ofAxis = column.axis && (isOrdinal(column) ? ordinalAxis(theme, column.axis) : scaledAxis(theme, axis));
    const base = ofAxis || { ...axisOption(theme), min: low, max: high };
    const label = column.axis ? {} : { showMinLabel: false, showMaxLabel: false };
    return {
      ...base,
      dim,
      id: axisId(dim),
      name,
      nameLocation: flat ? "start" : "end",
      nameGap: flat ? 0 : 16,
      nameTextStyle: flat
        ? { ...halo(theme), align: "left", verticalAlign: "bottom", padding: [0, 0, 14, 0] }
        : { ...halo(theme), width: 110, overflow: "break" },
      axisLabel: { ...base.axisLabel, ...label, ...halo(theme) },
      areaSelectStyle: {
        width: 24,
        borderWidth: 1,
        borderColor: theme.accent,
        color: theme.accent,
        opacity: BRUSH_OPACITY,
      },
      realtime: true,
    };
  }

  const axisId = dim => `axis ${dim}`;

  /** Text that stays legible where lines cross it. */
  const halo = theme => ({ color: theme.text, textBorderColor: theme.ground, textBorderWidth: 3 });

  /** Colours span the upper 95 % of accuracies, lest one run near chance makes all others look alike. */
  function colourSpan({ columns }) {
    const accuracies = columns
      .find(({ key }) => key === "validation_accuracy")
      .filtered.filter(isNumber)
      .sort((a, b) => a - b);
    if (accuracies.length === 0) return null;
    const low = accuracies[Math.floor(accuracies.length * 0.05)];
    return { low, high: accuracies.at(-1), isCut: low > accuracies[0] };
  }

  function scaleOption(store, theme, dimension, flat) {
    const span = colourSpan(store);
    if (!span) return [];
    return [
      {
        type: "continuous",
        min: span.low,
        max: Math.max(span.high, span.low + 0.01),
        dimension,
        seriesIndex: 0,
        calculable: false,
        hoverLink: false,
        orient: "horizontal",
        left: "center",
        bottom: 8,
        itemWidth: 12,
        itemHeight: flat ? 100 : 160,
        text: [
          `${twoDecimals(span.high)} %${flat ? "" : " validation accuracy"}`,
          `${twoDecimals(span.low)} %${span.isCut ? " or less" : ""}`,
        ],
        textStyle: { color: theme.text },
        inRange: { color: theme.scale },
      },
    ];
  }

  function parallelSeries(store, theme, axes) {
    const span = colourSpan(store);
    const accuracy = store.columns.find(({ key }) => key === "validation_accuracy").filtered;
    const line = index => ({
      index,
      name: store.data.runs[index].name,
      value: [
        ...axes.map(({ places }) => places[index] ?? "-"),
        isNumber(accuracy[index]) ? Math.max(span.low, accuracy[index]) : "-",
      ],
    });
    const byAccuracy = [...store.passing].sort((a, b) => accuracy[a] - accuracy[b]); // the best are drawn last, on top
    const rest = store.passes.flatMap((passes, index) => (passes ? [] : [index]));
    const opacity = clamp(30 / Math.sqrt(store.passing.length + 1) / 2, 0.25, 0.9);
    const series = (id, indices, extra, lineStyle) => ({
      type: "parallel",
      id,
      data: indices.map(line),
      activeOpacity: lineStyle.opacity,
      inactiveOpacity: Math.min(0.04, lineStyle.opacity),
      lineStyle,
      emphasis: { lineStyle: { width: 3, opacity: 1 } },
      ...extra,
    });
    return [
      series(
        "scored",
        byAccuracy.filter(index => isNumber(accuracy[index])),
        { z: 3 },
        { width: 1.5, opacity },
      ),
      series(
        "unscored",
        store.passing.filter(index => !isNumber(accuracy[index])),
        { z: 2 },
        { width: 1.25, opacity: 0.7, color: theme.muted, type: [4, 4] },
      ),
      series(
        "rest",
        rest,
        { z: 1, silent: true },
        { width: 1, color: theme.faint, opacity: clamp(15 / (rest.length + 1), 0.02, 0.18) },
      ),
    ];
  }

  const clamp = (number, low, high) => Math.min(high, Math.max(low, number));

  function describeParallel(store, chart) {
    const {
      passing,
      passes,
      data: { runs },
    } = store;
    Object.assign(chart.getDom().dataset, { lines: passing.length, rest: passes.length - passing.length });
    describe(
      chart,
      `Parallel coordinates of hyper-parameters and accuracies: ${passing.length} of ${plural(runs.length, "run", "runs")} ` +
        "pass the filters. The ranking has the same values as a table.",
    );
  }

  // ---- brushes on the axes, and filters of the table, as one

  function setBrushes(store, chart, axes) {
    axes.forEach((axis, at) => {
      const intervals = JSON.stringify(brushesOf(store, axis));
      // A dispatch redraws all lines, so only what changed is dispatched.
      if (intervals === (axis.brushed ?? "[]")) return;
      axis.brushed = intervals;
      chart.dispatchAction(
        { type: "axisAreaSelect", parallelAxisId: axisId(at), intervals: JSON.parse(intervals) },
        { silent: true },
      );
    });
  }

  /** ECharts draws a brush that was not just dragged in opaque grey, over the labels, and has no option for that. */
  function colourBrushes(chart, fill) {
    const brushes = chart
      .getZr()
      .storage.getDisplayList()
      .filter(({ name, z }) => name === "main" && z === BRUSH_Z);
    for (const brush of brushes) {
      if (brush.style.fill !== fill) brush.setStyle({ fill, stroke: fill, lineWidth: 1, opacity: BRUSH_OPACITY });
    }
  }

  function brushesOf(store, axis) {
    const filter = store.filters.get(axis.column.key);
    if (!filter) return [];
    return isOrdinal(axis.column) ? ordinalBrushes(filter, axis.column) : percentBrushes(filter, axis);
  }

  /** Neighbouring values that pass share a brush; a filter that lets all or none pass has no brush. */
  function ordinalBrushes({ passes }, { axis, kind }) {
    const passing = axis.values.map(value => passes(kind === "text" ? value : parseNumber(value)));
    if (passing.every(Boolean)) return [];
    const brushes = [];
    passing.forEach((isIn, place) => {
      if (!isIn) return;
      if (passing[place - 1]) brushes.at(-1)[1] = place + BRUSH_REACH;
      else brushes.push([place - BRUSH_REACH, place + BRUSH_REACH]);
    });
    return brushes;
  }

  function percentBrushes({ ranges }, { low, high, log }) {
    const share = 0.004; // a brush for a single number must be seen
    const widest = log ? (high / low) ** share : (high - low) * share;
    const isThin = ends => (log ? ends[1] / ends[0] : ends[1] - ends[0]) < widest;
    return ranges
      .filter(range => range.low <= high && range.high >= low)
      .map(range => {
        const ends = [Math.max(range.low, low), Math.min(range.high, high)];
        if (!isThin(ends)) return ends;
        return log ? [ends[0] / widest, ends[1] * widest] : [ends[0] - widest, ends[1] + widest];
      });
  }

  let isPointerDown = false;
  for (const type of ["pointerdown", "pointerup", "pointercancel"]) {
    addEventListener(
      type,
      () => {
        isPointerDown = type === "pointerdown";
      },
      true,
    );
  }

  /** While a brush is dragged ECharts dims the lines; the filters follow when it is let go. */
  function fillFiltersFromBrushes(store, chart, axes) {
    const dragged = new Map();
    const apply = debounce(() => {
      if (isPointerDown) {
        apply();
        return;
      }
      const filters = new Map(store.state.filters);
      for (const [axis, intervals] of dragged) {
        axis.brushed = JSON.stringify(intervals);
        const text = filterOfBrushes(axis, intervals);
        if (text) filters.set(axis.column.key, text);
        else filters.delete(axis.column.key);
      }
      dragged.clear();
      store.change({ filters });
    }, 50);
    chart.on("axisareaselected", event => {
      dragged.set(
        axes.find((_, at) => axisId(at) === event.parallelAxisId),
        event.intervals,
      );
      apply();
    });
  }

  function filterOfBrushes(axis, intervals) {
    const ordered = intervals.map(ends => [...ends].sort((a, b) => a - b)).sort((a, b) => a[0] - b[0]);
    return isOrdinal(axis.column) ? ordinalFilter(axis.column, ordered) : percentFilter(axis, ordered);
  }

  function ordinalFilter({ axis: { values }, kind }, intervals) {
    const places = new Set(intervals.flatMap(ends => placesWithin(ends, values.length)));
    if (places.size === 0 || places.size === values.length) return "";
    const chosen = [...places].sort((a, b) => a - b);
    if (kind === "text") return chosen.map(place => `=${values[place]}`).join(" | ");
    return chosen
      .filter(place => !places.has(place - 1))
      .map(first => {
        let last = first;
        while (places.has(last + 1)) last += 1;
        return first === last ? values[first] : `${values[first]}..${values[last]}`;
      })
      .join(" | ");
  }

  function placesWithin([low, high], count) {
    const places = [];
    for (let place = 0; place < count; place += 1) {
      if (place >= low - LINE_SPREAD / 2 && place <= high + LINE_SPREAD / 2) places.push(place);
    }
    return places.length > 0 ? places : [clamp(Math.round((low + high) / 2), 0, count - 1)];
  }

  function percentFilter(axis, intervals) {
    return intervals
      .map(([low, high]) => {
        const [fromStart, toEnd] = [low <= axis.low, high >= axis.high];
        const text = number => (axis.column.axis ? String(Number(number.toPrecision(3))) : number.toFixed(2));
        if (fromStart && toEnd) return "";
        if (toEnd) return `>=${text(low)}`;
        return fromStart ? `<=${text(high)}` : `${text(low)}..${text(high)}`;
      })
      .join(" | ");
  }

  function pickOnClick(store, chart) {
    chart.on("click", ({ name }) => {
      if (name) store.togglePick(name);
    });
  }

  // ---------------------------------------------------------------- main effects

  function startEffects(store) {
    const columns = store.columns.filter(({ axis }) => axis);
    let panels;
    const draw = () => {
      if (!showOrExplain("effects", whyNoEffects(store))) return;
      describeCount(store);
      panels ??= columns.map(column => makePanel(store, column));
      const span = accuracySpan(store);
      panels.forEach(panel => drawEffect(store, panel, span));
    };
    drawLater(store, draw);
    return draw;
  }

  function whyNoEffects(store) {
    const none = whyNoParallel(store);
    if (none) return none;
    return shownRuns(store).length === 0 ? "Of the runs that pass the filters, none has a test accuracy." : null;
  }

  /** How many dots there should be, and are not. */
  function describeCount(store) {
    const [shown, all] = [shownRuns(store).length, store.passing.length];
    const text = `${shown} of ${plural(all, "run", "runs")} are drawn; the others have no test accuracy.`;
    setText("effects-count", text);
    byId("effects-count").hidden = shown === all;
  }

  function shownRuns({ passing, data: { runs } }) {
    return passing.filter(index => isNumber(runs[index].test_accuracy));
  }

  function makePanel(store, column) {
    const container = element("div", { className: "chart" });
    container.setAttribute("role", "img");
    byId("effects-charts").append(element("div", {}, element("h3", { text: column.label }), container));
    const chart = makeChart(container);
    pickOnClick(store, chart);
    container.dataset.axis = column.key;
    return { column, chart, places: isOrdinal(column) ? placesOf(column, store.data.runs) : column.filtered };
  }

  /** The same scale in every panel, so that a larger effect looks larger. */
  function accuracySpan(store) {
    const [low, high] = extent(shownRuns(store).map(index => store.data.runs[index].test_accuracy * 100));
    const least = Math.max(high - low, 0.04) / 4;
    const magnitude = 10 ** Math.floor(Math.log10(least));
    const interval = [1, 2, 5, 10].map(times => times * magnitude).find(step => step >= least);
    const round = steps => Number((steps * interval).toFixed(6));
    return { min: round(Math.floor(low / interval)), max: Math.min(100, round(Math.ceil(high / interval + 1e-9))), interval };
  }

  function drawEffect(store, { column, chart, places }, span) {
    const theme = currentTheme();
    const { runs } = store.data;
    const { scale } = column.axis;
    const base = baseOption(theme);
    const shown = shownRuns(store).filter(index => places[index] !== null);
    const dots = shown.map(index => ({
      name: runs[index].name,
      value: [places[index] + (scale ? 0 : 0.5 * spread(index)), runs[index].test_accuracy * 100],
    }));
    const medians = mediansOf(column.axis, shown, places, runs);
    chart.setOption({
      ...base,
      grid: { left: 56, right: 12, top: 16, bottom: 30 },
      xAxis: scale ? scaledAxis(theme, scale) : ordinalAxis(theme, column.axis),
      yAxis: { ...axisOption(theme, "test accuracy (%)"), ...span, nameGap: 42 },
      tooltip: { ...base.tooltip, trigger: "item" },
      series: [
        {
          type: "scatter",
          data: dots,
          symbolSize: dots.length > 500 ? 4 : 6,
          large: dots.length > 2000,
          itemStyle: { color: theme.muted, opacity: dots.length > 500 ? 0.3 : 0.55 },
          tooltip: { formatter: ({ name, value }) => `${shorten(name, 34)}\n${twoDecimals(value[1])} %` },
        },
        {
          type: "line",
          data: medians.map(({ place, middle, name }) => ({ name, value: [place, middle] })),
          symbol: "diamond",
          symbolSize: medians.length > 30 ? 5 : 10,
          z: 3,
          lineStyle: { color: theme.accent, width: 2 },
          itemStyle: { color: theme.accent },
          tooltip: {
            formatter: ({ name, value }) => `median at ${shorten(name, 20)}\n${twoDecimals(value[1])} %`,
          },
        },
      ],
    });
    chart.getDom().dataset.dots = dots.length;
    const texts = medians.map(({ name, middle }) => `${name}: ${twoDecimals(middle)} %`);
    describe(chart, `Test accuracy by ${column.label}; medians: ${texts.join(", ")}.`);
  }

  /** The median of each value, or of each of the equal parts of a range. */
  function mediansOf({ values, scale }, shown, places, runs) {
    const names = scale ? scale.bins : values;
    const partOf = place => (scale ? clamp(Math.floor(shareOf(scale, place) * names.length), 0, names.length - 1) : place);
    return names
      .map((name, part) => {
        const accuracies = shown
          .filter(index => partOf(places[index]) === part)
          .map(index => runs[index].test_accuracy * 100);
        const place = scale ? numberAt(scale, (part + 0.5) / names.length) : part;
        return { name, place, middle: accuracies.length > 0 ? median(accuracies) : null };
      })
      .filter(({ middle }) => middle !== null);
  }

  // ---------------------------------------------------------------- reloading while the grid runs

  function startReloading(store) {
    const { watched, ended, planned } = store.data;
    if (!watched || ended >= planned) return;
    byId("reloading").hidden = false;
    byId("pause").addEventListener("click", () => store.change({ paused: !store.state.paused }));
    store.onChange(() => renderReloading(store.state.paused));
    const isTyping = () => document.activeElement?.matches("#filters input, select") ?? false;
    let seconds = 0;
    setInterval(() => {
      if (store.state.paused) {
        seconds = 0;
        return;
      }
      seconds += 1;
      if (seconds >= RELOAD_SECONDS && !isTyping() && !isPointerDown && !document.hidden) location.reload();
    }, 1000);
  }

  function renderReloading(paused) {
    byId("pause").textContent = paused ? "Resume" : "Pause";
    byId("reloading-text").textContent = paused
      ? "The grid is not done; this page no longer reloads itself."
      : `The grid is not done; this page reloads itself every ${RELOAD_SECONDS} seconds, but not while a filter is being written.`;
  }

  // ---------------------------------------------------------------- start

  /** The address holds the view, so links within the page must not replace it. */
  function keepHashOnLinks() {
    document.addEventListener("click", event => {
      const link = event.target.closest?.("a[href^='#']");
      const target = link && byId(link.getAttribute("href").slice(1));
      if (!target) return;
      event.preventDefault();
      target.scrollIntoView();
      target.focus({ preventScroll: true });
    });
  }

  function readData() {
    const data = JSON.parse(byId("data").textContent);
    const withCurve = data.runs.filter((_, index) => data.curves[index]);
    const best = withCurve.find(run => run.name === data.chosen) ?? withCurve[0];
    // Runs that differ only in what came into play after their best epoch have one curve.
    const isOther = run => run !== best && run.validation_accuracy !== best.validation_accuracy;
    const other = withCurve.find(isOther);
    data.firstPicks = [best, other].filter(Boolean).map(run => run.name);
    return data;
  }

  function fail(text) {
    byId("failure").textContent = text;
    byId("failure").hidden = false;
  }

  function start() {
    keepHashOnLinks();
    const data = readData();
    const store = makeStore(data, makeColumns(data));
    const hasCharts = typeof echarts === "object";
    for (const node of document.querySelectorAll(".scripted")) node.hidden = false;
    byId("no-runs").hidden = data.runs.length > 0;
    byId("ranking-body").hidden = data.runs.length === 0;
    keepInAddress(store);
    startTable(store);
    startReloading(store);
    const draws = hasCharts ? [startCurves(store), startParallel(store), startEffects(store)] : [];
    startTheme(() => draws.forEach(draw => draw()));
    store.refresh();
    if (!hasCharts) fail("The charts could not be started; the ranking works all the same.");
  }

  document.addEventListener("DOMContentLoaded", () => {
    try {
      start();
    } catch (error) {
      fail("The page could not read its data. It may have been cut off while it was written or copied.");
      throw error;
    }
  });
})();
