// Looking at a page as a person does, on a telephone and at a desk: nothing is wider than the screen,
// what has to be pressed can be, and axe-core finds nothing that shuts anybody out (WCAG 2.2, A and AA).
//
//   SCREENSHOTS    optional: a folder for a picture of each

import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { expect, summary } from "./parts.mjs";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const WIDTHS = [375, 1280];

// The page that is open. It is left at the width of a desk.
export async function look(page, name) {
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: 800 });
    const { wide, outside } = await page.evaluate(measure);
    expect(wide <= width, `${name} is ${width} px wide, not ${wide}`);
    expect(outside.length === 0, `${name} at ${width} px shows all of: ${outside.join(", ")}`);
    await page.evaluate(AXE);
    const found = await page.evaluate((rules) => globalThis.axe.run({ runOnly: rules }), RULES);
    expect(found.passes.length > 10, `axe looks at ${name}`);
    const wrong = found.violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`);
    expect(wrong.length === 0, `${name} at ${width} px is for everybody; ${wrong.join("; ")}`);
    if (process.env.SCREENSHOTS) {
      await page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}-${width}.png`) });
    }
  }
  summary.looked_at = [...(summary.looked_at ?? []), name];
}

// How wide the page is, and what of it to press or to type into is not on the screen as a whole.
function measure() {
  const controls = document.querySelectorAll("button, a, input:not([type=hidden])");
  const isOutside = (control) => {
    const box = control.getBoundingClientRect();
    return box.left < 0 || box.right > innerWidth || box.width < 24 || box.height < 24;
  };
  return {
    wide: document.documentElement.scrollWidth,
    outside: [...controls].filter(isOutside).map((control) => control.outerHTML),
  };
}
