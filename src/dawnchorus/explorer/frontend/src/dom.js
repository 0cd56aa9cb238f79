// Elements of the page. In: ids, kinds, properties. Out: elements.

export const $ = (id) => document.getElementById(id);

export function element(kind, properties = {}, ...children) {
  const { aria, data, ...rest } = properties;
  const made = Object.assign(document.createElement(kind), rest);
  for (const [name, value] of Object.entries(aria ?? {})) made.setAttribute(`aria-${name}`, value);
  Object.assign(made.dataset, data ?? {});
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function swatch(colour) {
  const made = element("i", { className: "swatch" });
  made.style.background = colour;
  return made;
}

export const count = (n) => n.toLocaleString("en");

let timer = 0;
export function tell(text) {
  $("message").textContent = text;
  $("message").hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => { $("message").hidden = true; }, 6000);
}

export const guarded = (action) => async (...given) => {
  try { return await action(...given); } catch (problem) { tell(problem.message); return undefined; }
};
