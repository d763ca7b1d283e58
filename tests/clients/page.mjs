// Runs the script on standard input as a page of <url> would run it.
// node --experimental-eventsource page.mjs <url>; the EventSource of Node 20 gives up when refused.
import { text } from "node:stream/consumers";

import { report } from "./event-source.mjs";

const log = console.log;
report(process.argv[2], (step) => log(JSON.stringify(step)));
new Function(await text(process.stdin))();
setInterval(() => {}, 60_000); // Node would end while its EventSource waits to connect again
