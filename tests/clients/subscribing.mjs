// graphql-ws and graphql-sse answer everything as a subscription, in the same words.
export function subscribing(client) {
  return {
    ask: (query) =>
      new Promise((resolve, reject) => {
        let answer;
        const next = (result) => (answer = result);
        client.subscribe({ query }, { next, error: reject, complete: () => resolve(answer) });
      }),
    follow: (query, next, done) =>
      client.subscribe({ query }, { next, error: done, complete: done }),
  };
}
