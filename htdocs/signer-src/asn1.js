/*
 * Reading BER with asn1js. What does not have the expected form is no key file: every function here throws a Refusal
 * for that, so that those who walk through a structure need not look.
 */
import { Constructed, fromBER, ObjectIdentifier, OctetString, Primitive, Sequence, Set as Asn1Set } from 'asn1js';
import { concat } from './bytes.js';
import { Refusal } from './refusal.js';

const unlike = () => new Refusal('not-a-key-file');

/* NSS writes long strings as many short ones; 200000 is more than a key file of a megabyte holds. */
export const parse = octets => {
	const { offset, result } = fromBER(octets, { maxNodes: 200000 });
	if (offset === -1)
		throw unlike();
	return result;
};

/* The members of a SEQUENCE or SET, or of a context tag around one. */
export const members = node => {
	if (!(node instanceof Sequence || node instanceof Asn1Set || node instanceof Constructed))
		throw unlike();
	return node.valueBlock.value;
};

/* The octets of an OCTET STRING in one piece or many, also under an implicit context tag. */
export const octets = node => {
	if (node instanceof Constructed || (node instanceof OctetString && node.idBlock.isConstructed))
		return concat(node.valueBlock.value.map(octets));
	if (node instanceof OctetString || node instanceof Primitive)
		return node.valueBlock.valueHexView;
	throw unlike();
};

export const oid = node => {
	if (!(node instanceof ObjectIdentifier))
		throw unlike();
	return node.valueBlock.toString();
};

export const integer = node => {
	const value = node?.valueBlock?.valueDec;
	if (!Number.isInteger(value))
		throw unlike();
	return value;
};

/* AlgorithmIdentifier: the OID, and its parameters when there are any. */
export const algorithm = node => {
	const [id, parameters] = members(node);
	return { id: oid(id), parameters };
};

export const isContext = (node, number) => node?.idBlock.tagClass === 3 && node.idBlock.tagNumber === number;

/* The octets as they stood in the file, for what is compared or handed on whole. */
export const encoded = node => node.valueBeforeDecodeView;
