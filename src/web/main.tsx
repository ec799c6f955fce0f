import "./style/base.css";
import "./style/frame.css";
import "./style/songs.css";
import "./style/mixer.css";

import { render } from "preact";

import { App } from "./app";
import { dropMixes } from "./history/mixes";
import { startLive, refreshHistory } from "./jobs/live";
import { entries, forget, startStore } from "./jobs/store";
import { startSession } from "./login/session";
import { loadModels, startOptions } from "./options/store";
import { startRoute } from "./route";
import { abandonAll, retryAfterLogin, startUploads } from "./upload/store";

export function afterLogin(): void {
  void loadModels();
  void refreshHistory();
  retryAfterLogin();
}

/** The next who sits here shall not see whose songs were here, nor send them as theirs; the account
 * has its list. */
function afterLogout(): void {
  abandonAll();
  forget(entries.peek().map(({ id }) => id));
  dropMixes();
}

startSession(afterLogin, afterLogout);
startStore();
startOptions();
startUploads();
startRoute();

const root = document.getElementById("app");
if (root !== null) {
  root.replaceChildren();
  render(<App onLogin={afterLogin} />, root);
}
startLive();
void refreshHistory();
