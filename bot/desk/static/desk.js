// Makes the desk's pages live. Each module does one thing; every link and form works without them.

import "./page.js";
import "./stream.js";
import "./composer.js";
import "./assist.js";
import "./keys.js";
import "./live.js";
import { toBottom } from "./page.js";

document.documentElement.classList.add("scripted-page");
toBottom();
