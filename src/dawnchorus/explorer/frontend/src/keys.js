// The keyboard: every frequent thing has a key. In: what to do. Out: nothing.

export function listen(actions, ready) {
  document.addEventListener("keydown", (event) => {
    if (!ready() || event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input, select, audio, textarea");
    if (typing && typing.type !== "range" && typing.type !== "checkbox") {
      if (event.key === "Escape") typing.blur();
      return;
    }
    if ((event.key === " " || event.key === "Enter") && event.target.closest("button, a, input")) return;
    if (event.key.startsWith("Arrow") && event.target.closest("[role=tab], input")) return;
    let key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.shiftKey && key.startsWith("Arrow")) key = `Shift ${key}`;
    const action = /^[1-9]$/.test(key) ? () => actions.number(Number(key) - 1) : actions[key];
    if (action) { event.preventDefault(); action(); }
  });
}

// Tabs by arrow keys, as screen readers expect them.
export function tabs(list, onShow) {
  const all = [...list.querySelectorAll("[role=tab]")];
  const choose = (tab) => {
    for (const one of all) {
      one.setAttribute("aria-selected", String(one === tab));
      one.tabIndex = one === tab ? 0 : -1;
      document.getElementById(one.getAttribute("aria-controls")).hidden = one !== tab;
    }
    onShow(tab.id);
  };
  for (const tab of all) tab.addEventListener("click", () => choose(tab));
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
    next.focus();
    choose(next);
  });
  return (id) => choose(document.getElementById(id));
}
