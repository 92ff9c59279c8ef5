"use strict";
// Zoom and shift of a chart with two fingers; one finger moves the cursor, or scrolls the page.
function touchZoom(setRange, setPlace) {
  const spanOf = (a, b) => Math.max(Math.abs(a.clientX - b.clientX), 12);
  const middleOf = (a, b) => (a.clientX + b.clientX) / 2;
  return {
    hooks: {
      ready: (chart) => {
        const over = chart.over;
        let begin = null;
        let frame = 0;
        const at = (clientX) => (clientX - over.getBoundingClientRect().left) / over.clientWidth;
        const start = (event) => {
          if (event.touches.length !== 2) {
            begin = null;
            return;
          }
          event.preventDefault();
          const [a, b] = event.touches;
          const { min, max } = chart.scales.x;
          begin = { span: spanOf(a, b), value: min + at(middleOf(a, b)) * (max - min), range: max - min };
        };
        const move = (event) => {
          if (event.touches.length === 1) {
            const [finger] = event.touches;
            const box = over.getBoundingClientRect();
            setPlace({ left: finger.clientX - box.left, top: finger.clientY - box.top });
            return;
          }
          if (begin === null || event.touches.length !== 2) {
            return;
          }
          event.preventDefault();
          const [a, b] = event.touches;
          const range = (begin.range * begin.span) / spanOf(a, b);
          const low = begin.value - at(middleOf(a, b)) * range;
          cancelAnimationFrame(frame);
          frame = requestAnimationFrame(() => setRange(low, low + range));
        };
        const end = (event) => {
          if (event.touches.length < 2) {
            begin = null;
          }
        };
        // Not passive: two fingers must not zoom the page as well.
        over.addEventListener("touchstart", start, { passive: false });
        over.addEventListener("touchmove", move, { passive: false });
        over.addEventListener("touchend", end);
        over.addEventListener("touchcancel", end);
      },
    },
  };
}
