// Drives one client library through what a frontend does; each step is a line of JSON.
// node run.mjs <client> <url of /graphql> <token>
const [name, url, token] = process.argv.slice(2);
const { connect } = await import(`./${name}.mjs`);
const say = (step, details) => console.log(JSON.stringify({ step, ...details }));

const QUERY = "query Latest { latestPrices { coin currency price } }";
const MUTATION = "mutation Refresh { refreshPrices(input: {wait: true}) { run { status } } }";
const FOLLOW =
  "subscription Follow { priceUpdates { kind revision prices { coin currency price } } }";
const WRONG = 'subscription Wrong { priceUpdates(coins: ["nothing"]) { kind } }';

const client = connect(url, token);
say("query", { data: (await client.ask(QUERY)).data });
say("mutation", { data: (await client.ask(MUTATION)).data });
say("wrong", { failure: await failureOf(WRONG) });

const unsubscribe = follow(FOLLOW, (update) => {
  say("update", update);
  if (update.kind !== "SNAPSHOT") {
    unsubscribe();
    // the connection goes on, until the server ends it
    const again = FOLLOW.replace("Follow", "Again");
    follow(again, (update) => say("again", update), () => say("ended"));
  }
});

function follow(query, onUpdate, onComplete = () => {}) {
  return client.follow(query, (result) => onUpdate(result.data.priceUpdates), onComplete);
}

function failureOf(query) {
  return new Promise((resolve) => {
    client.follow(
      query,
      (result) => resolve(result.errors ?? result.error),
      resolve,
    );
  }).then((failure) => failure.errors ?? failure); // Apollo's is an Error that has them
}
