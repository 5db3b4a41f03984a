// A server on Node's own HTTP parser that says further on what it has read.
const http = require("http");
const [host, port, upstreamHost, upstreamPort] = process.argv.slice(-4);
const agent = new http.Agent({ keepAlive: true, maxSockets: 256 });
const refuse = (answer) => {
  answer.writeHead(400);
  answer.end();
};
const server = http.createServer((request, answer) => {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    const body = Buffer.concat(pieces);
    const headers = { Host: request.headers.host, "Content-Length": body.length };
    const to = { agent, host: upstreamHost, port: upstreamPort, method: request.method, path: request.url, headers };
    try {
      const further = http.request(to, (seen) => {
        seen.resume();
        answer.writeHead(seen.statusCode, { "X-Seen": seen.headers["x-seen"] });
        answer.end();
      });
      further.on("error", () => refuse(answer));
      further.end(body);
    } catch {
      refuse(answer);
    }
  });
});
server.keepAliveTimeout = 120000;
server.maxRequestsPerSocket = 0;
server.listen(Number(port), host);
