// Begin: the theme and the tables at once, the rest when the data is unpacked.

function showTheme() {
  const root = document.documentElement;
  // Some browsers give a file no storage; then the choice lasts as long as the page.
  const kept = () => { try { return localStorage.getItem("kaidoku-theme"); } catch { return null; } };
  if (kept()) root.dataset.theme = kept();
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("kaidoku-theme", root.dataset.theme); } catch { /* not kept */ }
  });
}

async function main() {
  showTheme();
  document.querySelectorAll("table.sortable").forEach(makeSortable);
  data = await unpack("payload");
  pictures = JSON.parse(document.getElementById("pictures").textContent);
  showCurves();
  showSpeeds();
  const recalled = recall();
  if (data.readings.length) {
    state.pictured = !recalled && Object.keys(picturesHere()).length > 0;
    showFilters();
    showLines();
    if (recalled) document.getElementById("lines").scrollIntoView();
  } else {
    document.getElementById("found").textContent = say("No line of this run was read with trained weights.");
  }
  document.documentElement.dataset.ready = "";
}

main();
