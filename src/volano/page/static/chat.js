// Answers stream into the page as text, never as markup; forms are htmx's.
"use strict";

(function () {
  const ask = document.getElementById("ask");
  const prompt = document.getElementById("prompt");
  const fresh = document.getElementById("fresh"); // not on the page that compares
  const problem = document.getElementById("problem");
  let streaming = 0;

  function setBusy(change) {
    streaming += change;
    ask.querySelector(".send").disabled = streaming > 0;
    if (fresh) fresh.disabled = streaming > 0;
  }

  function fail(article, text) {
    article.removeAttribute("data-stream");
    article.removeAttribute("aria-busy");
    article.classList.add("failed");
    const line = document.createElement("p");
    line.className = "problem";
    line.textContent = text;
    article.append(line);
    const asked = article.closest(".turn").querySelector(".question .said");
    if (asked && !prompt.value) prompt.value = asked.textContent; // to change it, or try again
  }

  function stream(article) {
    const said = article.querySelector(".said");
    const turn = article.closest(".turn");
    const source = new EventSource(article.dataset.stream);
    article.dataset.started = "yes";
    setBusy(1);

    function end() {
      source.close(); // or the browser would ask again
      setBusy(-1);
    }
    source.addEventListener("piece", (event) => {
      const atEnd = window.innerHeight + window.scrollY > document.body.scrollHeight - 160;
      said.append(JSON.parse(event.data));
      if (atEnd) turn.scrollIntoView({ block: "end" });
    });
    source.addEventListener("done", (event) => {
      end();
      const found = JSON.parse(event.data);
      htmx.swap(article, found.html, { swapStyle: "outerHTML" });
      if (ask.elements.after) ask.elements.after.value = found.request_id;
      const choice = turn.querySelector(".choice");
      const complete = !turn.querySelector("[data-stream], .failed");
      if (choice && complete) choice.hidden = false;
      turn.scrollIntoView({ block: "nearest" });
    });
    source.addEventListener("failed", (event) => {
      end();
      fail(article, JSON.parse(event.data));
    });
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED && !article.dataset.stream) return;
      end();
      fail(article, "The connection broke off. Ask again.");
    };
  }

  function showEdit(form) {
    const article = form.closest(".answer");
    let edit = article.querySelector(".correction");
    if (!edit) {
      edit = document.createElement("div");
      edit.className = "correction";
      const heading = document.createElement("h3");
      heading.textContent = "Your edit";
      const said = document.createElement("p");
      said.className = "said";
      edit.append(heading, said);
      article.querySelector(".said").after(edit);
    }
    edit.querySelector(".said").textContent = form.elements.edit.value;
    form.parentElement.open = false;
    form.parentElement.querySelector("summary").focus();
  }

  document.addEventListener("htmx:load", (event) => {
    for (const article of event.target.parentElement.querySelectorAll("[data-stream]")) {
      if (!article.dataset.started) stream(article);
    }
    if (event.target.classList.contains("chosen")) event.target.focus();
  });

  // A refusal is told in the line that the form has for it, or at the foot; the form stays.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const found = event.detail;
    if (!found.isError) return;
    const json = (found.xhr.getResponseHeader("Content-Type") || "").includes("json");
    if (json) {
      found.shouldSwap = false; // from before the page: the limits, or a failure
      problem.textContent = JSON.parse(found.xhr.responseText).error.message;
    } else if (!found.target.classList.contains("status")) {
      found.target = problem;
      found.swapOverride = "innerHTML";
    }
  });

  document.addEventListener("htmx:afterRequest", (event) => {
    const consent = event.detail.elt.closest(".consent");
    if (!event.detail.successful && consent) {
      event.detail.elt.reset(); // the box shows what the server knows
      consent.querySelector(".status").textContent = "";
    }
    if (!event.detail.successful && !event.detail.xhr.status) {
      problem.textContent = "The server does not answer. What you wrote is still here.";
    } else if (event.detail.successful) {
      problem.textContent = "";
      if (event.detail.elt === ask) {
        prompt.value = "";
        prompt.focus();
      } else if (event.detail.elt.classList.contains("thumbs")) {
        const pressed = event.detail.requestConfig.triggeringEvent.submitter;
        for (const button of event.detail.elt.querySelectorAll("button")) {
          button.setAttribute("aria-pressed", String(button === pressed));
        }
      } else if (event.detail.elt.closest(".edit")) {
        showEdit(event.detail.elt);
      }
    }
  });

  // An opened form must not stay behind the question at the foot of the page.
  document.addEventListener("toggle", (event) => {
    const field = event.target.open && event.target.querySelector("textarea");
    if (field) field.focus();
  }, true);

  if (fresh) fresh.addEventListener("click", () => {
    document.getElementById("turns").replaceChildren();
    ask.elements.after.value = "";
    problem.textContent = "";
    prompt.focus();
  });

  prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      if (!streaming) ask.requestSubmit();
    }
  });
})();
