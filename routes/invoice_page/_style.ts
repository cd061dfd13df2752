/**
 * The style sheet of the page: inline, the only style it has, and small.
 *
 * @module
 */

/** CSS, compact for slow connections. */
export const STYLE = `
*{box-sizing:border-box}
body{margin:0;background:#eef1f4;color:#1b2330;font:1rem/1.5 system-ui,sans-serif}
main{max-width:38rem;margin:0 auto;padding:1rem;background:#fff;min-height:100vh}
header,.row,footer{display:flex;justify-content:space-between;gap:1rem}
header{border-bottom:3px solid #0b5d47;padding-bottom:.6rem;align-items:baseline}
header b{font-size:1.15rem}
h1{font-size:1.3rem;margin:1rem 0 .1rem}
h2{font-size:1.1rem;margin:1.8rem 0 .5rem}
h1,p,td,b{overflow-wrap:anywhere}
p{margin:.3rem 0}
a{color:#0b5d47}
.actions{margin-top:1.5rem}
small,.soft{color:#5b6676;font-size:.875rem}
.state{margin:1rem 0;padding:.7rem 1rem;border-left:5px solid;border-radius:4px;background:#eef3f1;color:#0b5d47}
.state b{display:block;font-size:1.05rem}
.state strong{display:block;font-size:1.6rem;line-height:1.3}
.overdue,.partly_overdue,.problem{background:#fbeeed;color:#a3221a}
.partly_paid,.note{background:#fdf5e6;color:#7a5000}
.void,.refunded{background:#f0f1f3;color:#4d5766}
table{border-collapse:collapse;width:100%;margin-top:1rem}
td,th{border-bottom:1px solid #dde2e8;padding:.5rem 0;text-align:left;vertical-align:top;font-weight:400}
td:last-child{width:1%;text-align:right;white-space:nowrap;padding-left:1rem}
tfoot :is(td,th){border:0;padding:.2rem 0}
.strong :is(td,th){font-weight:700;font-size:1.1rem;padding-top:.5rem}
form,.way{border:1px solid #cfd6de;border-radius:8px;padding:1rem;margin:.8rem 0}
label{display:block;margin-top:.6rem}
input,select,button,.button{display:block;width:100%;min-height:3rem;font:inherit;padding:.5rem .8rem;border:1px solid #8b95a3;border-radius:6px;background:#fff;color:inherit}
button,.button{margin-top:.9rem;border:0;background:#0b5d47;color:#fff;font-weight:700;text-align:center;text-decoration:none;line-height:2rem;cursor:pointer}
.plain{background:#e6eeeb;color:#0b5d47}
:focus-visible{outline:3px solid #e0a100;outline-offset:2px}
footer{margin-top:2rem;border-top:1px solid #dde2e8;padding-top:.8rem;display:block}
.notes{white-space:pre-line}
@media(min-width:40rem){main{margin:2rem auto;padding:2rem;min-height:0;border-radius:10px}.actions{display:grid;grid-template-columns:1fr 1fr;gap:1rem}}
`.replaceAll("\n", "");
