/*
 * The text of sha1-steps.js, which exists in the bundle alone: the eighty steps of SHA-1 (FIPS 180-4, 6.1.2) over one block
 * with a hash in it, one after the other, with every value in a variable of its own. JavaScript runs that more than twice as
 * fast as loops over arrays, and a key file may ask for four million of them.
 */
const INITIAL = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0].map(word => word | 0);

const STAGES = [
	{ mix: (b, c, d) => `(${d}^${b}&(${c}^${d}))`, constant: 0x5a827999 },
	{ mix: (b, c, d) => `(${b}^${c}^${d})`, constant: 0x6ed9eba1 },
	{ mix: (b, c, d) => `(${b}&${c}|${d}&(${b}|${c}))`, constant: 0x8f1bbcdc },
	{ mix: (b, c, d) => `(${b}^${c}^${d})`, constant: 0xca62c1d6 },
];

const word = i => `w${i % 16}`;

/* In place of moving five values along, each step names them anew. */
const step = i => {
	const [a, b, c, d, e] = [0, 1, 2, 3, 4].map(place => 'abcde'[(place + 80 - i) % 5]);
	const { mix, constant } = STAGES[Math.floor(i / 20)];
	const expand = i < 16 ? '' : `${word(i)}^=${word(i - 3)}^${word(i - 8)}^${word(i - 14)};${word(i)}=${word(i)}<<1|${word(i)}>>>31;`;
	return `${expand}${e}=${e}+(${a}<<5|${a}>>>27)+${mix(b, c, d)}+${constant | 0}+${word(i)}|0;${b}=${b}<<30|${b}>>>2;`;
};

/* hash: five words, which are replaced by the hash of themselves. The rest of their block is SHA-1's padding. */
export const text = `export const hashOfHash=hash=>{
let ${[0, 1, 2, 3, 4].map(i => `w${i}=hash[${i}]`)},w5=${0x80000000 | 0},${[6, 7, 8, 9, 10, 11, 12, 13, 14].map(i => `w${i}=0`)},w15=160,
${INITIAL.map((value, i) => `${'abcde'[i]}=${value}`)};
${Array.from({ length: 80 }, (_, i) => step(i)).join('\n')}
${INITIAL.map((value, i) => `hash[${i}]=${'abcde'[i]}+${value};`).join('')}
};`;
