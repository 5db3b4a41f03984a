// What the flows have in common: steps with a summary, a browser of one's own, and a person at the
// login pages.
//
// The last line of a flow's output is a JSON summary, with `true` for each step that went as it must;
// the first that does not ends the flow with exit code 1.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { chromium } from "playwright-core";

export const PATIENCE_MS = 20_000;

export const summary = {};
let current = "start";

// Runs a flow to its end.
export async function play(main) {
  try {
    await main();
    console.log(JSON.stringify({ ok: true, ...summary }));
  } catch (error) {
    console.log(JSON.stringify({ ok: false, failed: current, ...summary }));
    console.error(`step \`${current}\` failed: ${describe(error)}`);
    process.exitCode = 1;
  }
}

export async function step(name, run) {
  current = name;
  const result = await run();
  summary[name] = true;
  return result;
}

// Opens Chromium with a profile of its own, and leaves nothing behind.
export async function withBrowser(run, more = {}) {
  const profile = await mkdtemp(join(tmpdir(), "cedargate-browser-"));
  let browser;
  try {
    browser = await step("browser", () => launch(profile, more));
    return await run(browser);
  } finally {
    await browser?.close();
    await rm(profile, { recursive: true, force: true });
  }
}

function launch(profile, more) {
  return chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    ...more,
    args: [
      ...(more.args ?? []),
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

export async function openPage(browser) {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  return page;
}

// Types the password at the login page, and waits for what comes next.
export async function fillLogin(page, username, password) {
  await page.fill('input[name="username"]', username);
  await page.fill('input[name="password"]', password);
  await Promise.all([
    page.waitForEvent("framenavigated"),
    page.click('form:has(input[name="password"]) button[type="submit"]'),
  ]);
}

// Answers the consent page.
export function decide(page, value) {
  return page.click(`button[name="decision"][value="${value}"]`);
}

// The error of what must not succeed.
export async function failure(promise) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`this must fail, and answered ${Object.keys(value ?? {}).join(", ")}`);
}

export function expect(condition, what) {
  if (!condition) throw new Error(`expected: ${what}`);
}

// Asks until the answer is yes.
export async function eventually(what, good) {
  const end = Date.now() + PATIENCE_MS;
  while (!(await good())) {
    expect(Date.now() < end, what);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export function required(name) {
  const value = process.env[name];
  if (value) return value;
  console.error(`the environment variable ${name} is not set`);
  process.exit(2);
}

function describe(error) {
  const parts = [error.message];
  if (error.error) parts.push(`${error.error}: ${error.error_description ?? ""}`);
  if (error.code) parts.push(error.code);
  if (error.cause) parts.push(String(error.cause.message ?? JSON.stringify(error.cause)));
  return parts.join(" | ");
}
