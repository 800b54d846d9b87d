// The scripts of every page. collectstatic joins them in this order; see dashboard/static_files.py.
// A script that another one imports comes first.

import "./dom.js";
import "./times.js";
import "./polling.js";
import "./menu.js";
import "./open-rows.js";
import "./column-filter.js";
import "./records-scroll.js";
import "./copy.js";
import "./selection.js";
import "./htmx-events.js";
import "./upload.js";
import "./dialogs.js";
import "./start-download.js";
import "./curl.js";
import "./strips.js";
import "./favorites.js";
import "./submit-once.js";
import "./product-chart.js";
import "./live-collections.js";
import "./live-runs.js";
import "./live-run.js";
import "./shortcuts.js";
