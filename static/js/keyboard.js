// The keyboard on the glass of iPhones and iPads lies over the page; elsewhere the window makes room
// for it by itself (interactive-widget). The room is made as high as what is left to see, and what
// stands at the lower edge of the window stands on the keyboard (--covered).
const page = document.querySelector(".page.room");
const view = window.visualViewport;
const least = 100; // px: less is a toolbar

function fit() {
	const root = document.documentElement;
	const hidden = view.scale === 1 && root.clientHeight - view.height > least;
	page.style.blockSize = hidden ? `${view.height}px` : "";
	page.style.translate = hidden ? `0 ${view.offsetTop}px` : "";
	root.style.setProperty("--covered", hidden ? `${root.clientHeight - view.height - view.offsetTop}px` : "");
	root.style.setProperty("--seen", hidden ? `${view.height}px` : "");
}

if (page && view) {
	for (const event of ["resize", "scroll"]) view.addEventListener(event, fit);
	window.addEventListener("resize", fit);
}
