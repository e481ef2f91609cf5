// On a narrow page the boards' names are in a line that scrolls: the one that is open is brought into sight.
const list = document.querySelector(".boards ul");
const open = list?.querySelector("[aria-current]");
if (open) {
  const [whole, one] = [list, open].map((it) => it.getBoundingClientRect());
  list.scrollLeft += one.left - whole.left - (whole.width - one.width) / 2;
}
