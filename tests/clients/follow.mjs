// Follows prices with one client library over restarts of the server; each update is a line of JSON.
// node follow.mjs <client> <url of /graphql> <token>
const [name, url, token] = process.argv.slice(2);
const { connect } = await import(`./${name}.mjs`);
const say = (step, fields) => console.log(JSON.stringify({ step, ...fields }));
const FOLLOW =
  "subscription Follow { priceUpdates { kind revision prices { coin currency price } } }";

connect(url, token).follow(
  FOLLOW,
  (result) => say("update", result.data?.priceUpdates ?? { errors: result.errors }),
  (failure) => say("ended", { failure: failure?.message ?? failure?.type ?? failure }),
);
