import { Client, cacheExchange, subscriptionExchange } from "urql";

import { wsClient } from "./graphql-ws.mjs";

export function connect(url, token) {
  const socket = wsClient(url, token);
  const client = new Client({
    url,
    exchanges: [
      cacheExchange,
      subscriptionExchange({
        enableAllOperations: true,
        forwardSubscription: ({ query, variables }) => ({
          subscribe: (sink) => ({
            unsubscribe: socket.subscribe({ query: query ?? "", variables }, sink),
          }),
        }),
      }),
    ],
  });
  return {
    ask: (text) =>
      (text.startsWith("mutation") ? client.mutation(text, {}) : client.query(text, {})).toPromise(),
    follow: (text, next, done) => {
      const each = (result) => {
        if (result.error) done(result.error.graphQLErrors);
        else if (result.hasNext) next(result);
        else done(); // urql gives the last result once more
      };
      const subscription = client.subscription(text, {}).subscribe(each);
      return () => subscription.unsubscribe();
    },
  };
}
