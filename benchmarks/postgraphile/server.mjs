// PostGraphile 5 as its documentation sets it up for production: the Amber preset on grafserv's
// own adaptor for node:http, one pool. PGHOST, PGDATABASE, PGUSER, PGPORT and PORT say where.
import { createServer } from "node:http";
import pg from "pg";
import { postgraphile } from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { grafserv } from "postgraphile/grafserv/node";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";

const pool = new pg.Pool({ max: Number(process.env.POOL_SIZE) });

const preset = {
  extends: [PostGraphileAmberPreset],
  pgServices: [makePgService({ pool, schemas: ["public"] })],
  // Simple lists instead of connections: fewer objects, and the faster of the two.
  schema: { defaultBehavior: "-insert -update -delete +list -connection" },
  grafserv: {
    graphiql: false,
    watch: false,
    websockets: false,
    // Grafast writes JSON text itself instead of objects first, which is faster.
    outputDataAsString: process.env.OUTPUT !== "objects",
  },
  grafast: { explain: false },
};

const server = createServer();
await postgraphile(preset).createServ(grafserv).addTo(server);
server.listen(Number(process.env.PORT), "127.0.0.1");
