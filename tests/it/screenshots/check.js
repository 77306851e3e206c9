// What is wrong with the page as it is laid out. The body of a function; an element in `.scroll` may be as wide as it
// likes, and what is clipped away for screen readers is nowhere.
const problems = [];
const width = window.innerWidth;
const describe = (element) => `<${element.localName} class="${element.className.baseVal ?? element.className}">`
  + ` ${element.textContent.trim().slice(0, 60)}`;
const ancestors = (element) => {
  const all = [];
  for (let one = element; one; one = one.parentElement) all.push(one);
  return all;
};
const isElsewhere = (element) => ancestors(element).some((one, place) =>
  (place > 0 && one.matches(".scroll")) || getComputedStyle(one).clipPath !== "none");

if (document.scrollingElement.scrollWidth > width) {
  problems.push(`the page is ${document.scrollingElement.scrollWidth} wide`);
}
const elements = [...document.querySelectorAll("body *")].filter((element) => !isElsewhere(element));
for (const element of elements) {
  const box = element.getBoundingClientRect();
  if (box.width > 0 && (box.right > width + 0.5 || box.left < -0.5)) {
    problems.push(`from ${box.left} to ${box.right}: ${describe(element)}`);
  }
  if (element.matches("td, th, dd, li, p") && element.scrollWidth > element.clientWidth + 1) {
    problems.push(`spills over its box: ${describe(element)}`);
  }
}

// WCAG AA: text is 4.5 times as bright as what is behind it, or the other way round.
const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
const brightness = (colour) => {
  const [red, green, blue] = channels(colour).map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const behind = (element) => {
  const painted = ancestors(element).map((one) => getComputedStyle(one).backgroundColor);
  return painted.find((colour) => (channels(colour)[3] ?? 1) === 1);
};
for (const element of elements) {
  const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!hasText) continue;
  const [dark, bright] = [getComputedStyle(element).color, behind(element)].map(brightness).sort((a, b) => a - b);
  const contrast = (bright + 0.05) / (dark + 0.05);
  if (contrast < 4.5) problems.push(`contrast ${contrast.toFixed(2)}: ${describe(element)}`);
}

const loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
return { problems, width, loaded };
