"use strict";
// Fades the label maps so that the photograph below shows through. Without a script they are opaque.
const slider = document.getElementById("opacity");
if (slider) {
  document.getElementById("fade").hidden = false;
  const show = () => document.documentElement.style.setProperty("--opacity", slider.value / 100);
  slider.addEventListener("input", show);
  show();
}
