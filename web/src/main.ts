import "@xyflow/svelte/dist/base.css";
import "./theme/theme.css";
import "./canvas/canvas.css";
import "./panels/panels.css";
import { mount } from "svelte";
import App from "./App.svelte";

mount(App, { target: document.getElementById("app")! });
