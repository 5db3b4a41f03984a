// A page that opens a WebSocket at a gateway that it speaks HTTP/2 with.
//
//   ADDRESS    of the gateway, whose certificate is for `gw.test` and by nobody

import { eventually, expect, openPage, play, required, step, withBrowser } from "./parts.mjs";

const origin = "gw.test:8080";

async function main() {
  const more = {
    ignoreHTTPSErrors: true,
    args: [`--host-resolver-rules=MAP gw.test ${required("ADDRESS")}`],
  };
  await withBrowser(async (browser) => {
    const page = await openPage(browser);
    const told = await listens(browser, page);
    await step("page", () => speaksHttp2(page));
    await step("echo", () => echoes(page));
    await step("on_stream", () => isOnStream(told));
    await step("not_here", () => refuses(page));
    await step("closed", () => closes(page));
  }, more);
}

// What the browser says of answers to its wishes.
async function listens(browser, page) {
  const session = await browser.newCDPSession(page);
  const told = [];
  session.on("Network.webSocketHandshakeResponseReceived", (event) => told.push(event.response));
  await session.send("Network.enable");
  return told;
}

async function speaksHttp2(page) {
  await page.goto(`https://${origin}/page`);
  const [navigation] = await page.evaluate(() =>
    performance.getEntriesByType("navigation").map((entry) => entry.nextHopProtocol),
  );
  expect(navigation === "h2", `the page comes by HTTP/2, not ${navigation}`);
}

async function echoes(page) {
  const echoed = await page.evaluate(async (url) => {
    window.socket = new WebSocket(url);
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(new Error("no WebSocket"));
    });
    const say = (text) =>
      new Promise((resolve) => {
        socket.onmessage = (event) => resolve(event.data === text);
        socket.send(text);
      });
    return [await say("hello"), await say("x".repeat(1 << 20))];
  }, `wss://${origin}/live`);
  expect(echoed.every(Boolean), "what was said is said back");
}

async function isOnStream(told) {
  await eventually("the browser tells", () => told.length > 0);
  expect(told[0].status === 200, `an answer on a stream, not ${told[0].status}`);
}

// No WebSocket on a route that takes none.
async function refuses(page) {
  const opened = await page.evaluate(
    (url) =>
      new Promise((resolve) => {
        const socket = new WebSocket(url);
        socket.onopen = () => resolve(true);
        socket.onerror = () => resolve(false);
      }),
    `wss://${origin}/page`,
  );
  expect(!opened, "a wish that is refused");
}

async function closes(page) {
  const code = await page.evaluate(
    () =>
      new Promise((resolve) => {
        socket.onclose = (event) => resolve(event.code);
        socket.close(1000);
      }),
  );
  expect(code === 1000, `the other side closes, too: ${code}`);
}

await play(main);
