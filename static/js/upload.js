// Enhances the upload form: accepts dropped files, shows the chosen files and the progress, and can cancel.

import { announce } from "./dom.js";

const form = document.querySelector("form[data-upload]");
if (form) setUp();

function setUp() {
  const input = form.querySelector("input[type=file]");
  const area = form.querySelector(".drop-area");
  const progress = form.querySelector(".upload-progress");
  const status = progress.querySelector("p");
  const bar = progress.querySelector("progress");
  let isUploading = false;

  form.querySelector(".drop-hint").hidden = false;
  input.addEventListener("change", showChosen);
  showChosen();

  // Otherwise, the browser opens files that are dropped outside of the area, and leaves the page.
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    area.classList.toggle("is-target", form.contains(event.target) && !isUploading);
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) area.classList.remove("is-target");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    area.classList.remove("is-target");
    if (!form.contains(event.target) || isUploading) return;
    const folder = [...event.dataTransfer.items].find((item) => item.webkitGetAsEntry?.()?.isDirectory);
    if (folder) {
      showProblem("You can't upload a folder. Drop the files in it, or a ZIP file of it.");
      return;
    }
    input.files = event.dataTransfer.files;
    showChosen();
  });

  form.addEventListener("htmx:beforeRequest", () => {
    isUploading = true;
    showProblem("");
    setBusy(true);
    showStatus("Uploading…", 0);
  });
  form.addEventListener("htmx:xhr:progress", ({ detail: { loaded, total } }) => {
    // After the request, htmx also reports the progress of the response.
    if (!isUploading || bar.position < 0) return;
    if (loaded < total) showStatus(`Uploading: ${sizeOf(loaded)} of ${sizeOf(total)}`, loaded / total);
    else showStatus("Importing the files. Keep this page open.");
  });
  form.addEventListener("htmx:beforeOnLoad", () => (isUploading = false));
  form.addEventListener("htmx:afterRequest", () => {
    isUploading = false;
    setBusy(false);
  });
  form.addEventListener("htmx:sendAbort", () => showMessage("Canceled. Nothing was uploaded.", "status"));
  form.addEventListener("htmx:sendError", () => {
    showProblem("The connection was lost. Nothing was uploaded. Try again.");
  });
  form.addEventListener("htmx:responseError", ({ detail: { xhr } }) => {
    const advice = xhr.status === 403 ? "Reload the page and try again." : "Try again in a moment.";
    showProblem(`Nothing was uploaded. ${advice}`);
  });

  form.querySelector(".form-actions a").addEventListener("click", (event) => {
    if (!isUploading) return;
    event.preventDefault();
    window.htmx.trigger(form, "htmx:abort");
  });
  window.addEventListener("beforeunload", (event) => {
    if (isUploading) event.preventDefault();
  });

  function showChosen() {
    const files = [...input.files];
    const size = files.reduce((sum, file) => sum + file.size, 0);
    input.setCustomValidity(excess(files.length, size));
    const chosen = document.getElementById("files-chosen");
    chosen.hidden = files.length < 1;
    chosen.textContent = `${named(files)} (${sizeOf(size)})`;
  }

  function excess(count, size) {
    const { mostFiles, mostBytes } = form.dataset;
    if (count > mostFiles) return `Choose at most ${Number(mostFiles).toLocaleString("en")} files, or a ZIP file of them.`;
    if (size > mostBytes) return `The files are larger than ${sizeOf(Number(mostBytes))}, the maximum.`;
    return "";
  }

  function setBusy(isBusy) {
    progress.hidden = !isBusy;
    for (const field of form.querySelectorAll("input, button")) field.disabled = isBusy;
  }

  function showStatus(text, position) {
    status.textContent = text;
    if (position === undefined) {
      bar.removeAttribute("value");
      announce(text);
    } else {
      bar.value = position;
    }
  }
}

function showProblem(text) {
  showMessage(text, "alert");
}

function showMessage(text, role) {
  const message = document.createElement("p");
  message.className = role === "alert" ? "message error" : "message";
  message.role = role;
  message.textContent = text;
  document.getElementById("upload-problem").replaceChildren(...(text ? [message] : []));
}

function named(files) {
  const shown = files.slice(0, 5).map((file) => file.name);
  const more = files.length - shown.length;
  return shown.join(", ") + (more > 0 ? ` and ${more.toLocaleString("en")} more` : "");
}

function sizeOf(bytes) {
  const units = ["bytes", "KB", "MB", "GB"];
  const unit = Math.min(Math.floor(Math.log2(bytes || 1) / 10), units.length - 1);
  const number = (bytes / 1024 ** unit).toLocaleString("en", { maximumFractionDigits: unit ? 1 : 0 });
  return `${number} ${units[unit]}`;
}
