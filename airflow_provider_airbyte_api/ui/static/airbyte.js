// What Airflow's UI imports: for each plugin view it takes the component that is the global with the view's name.

import { SyncsPage } from "./page.js";
import { SyncTab } from "./task.js";

globalThis["Airbyte Syncs"] = SyncsPage;
globalThis["Airbyte Sync"] = SyncTab;
