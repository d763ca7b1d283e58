// Starts GraphiQL with what the page's <script id="config"> says: { endpoint, tabs }.
(() => {
  "use strict";

  const { createElement } = React;
  const config = JSON.parse(document.getElementById("config").textContent);
  const url = new URL(config.endpoint, location.href);
  const subscriptionUrl = new URL(url);
  subscriptionUrl.protocol = url.protocol === "https:" ? "wss:" : "ws:";

  // Under a prefix of its own: another GraphiQL at the same localhost port would otherwise
  // show its tabs here, and ours there.
  const PREFIX = "coingraph:";
  const ownKeys = () => Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
  const storage = {
    getItem: (key) => localStorage.getItem(PREFIX + key),
    setItem: (key, value) => localStorage.setItem(PREFIX + key, value),
    removeItem: (key) => localStorage.removeItem(PREFIX + key),
    clear: () => ownKeys().forEach((key) => localStorage.removeItem(key)),
    get length() {
      return ownKeys().length;
    },
  };

  const graphiql = createElement(
    GraphiQL,
    {
      fetcher: GraphiQL.createFetcher({
        url: url.href,
        subscriptionUrl: subscriptionUrl.href,
        enableIncrementalDelivery: false,
      }),
      storage,
      defaultTabs: config.tabs,
      plugins: [GraphiQLPluginExplorer.explorerPlugin()],
      isHeadersEditorEnabled: true,
      // Headers stay in memory only: they hold tokens.
      shouldPersistHeaders: false,
    },
    createElement(GraphiQL.Logo, null, "coingraph"),
  );
  ReactDOM.createRoot(document.getElementById("graphiql")).render(graphiql);
})();
