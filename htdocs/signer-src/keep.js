/*
 * The key file kept on this machine, when the user asks for it: the file as it is, encrypted under her password, and never
 * a key (a browser writes even keys that cannot be exported to its disk in clear). One per site, in IndexedDB.
 */
const STORE = 'keyfile';

const open = () => new Promise((resolve, reject) => {
	const request = indexedDB.open('sosigw', 1);
	request.onupgradeneeded = () => request.result.createObjectStore(STORE);
	request.onsuccess = () => resolve(request.result);
	request.onerror = () => reject(request.error);
});

const run = async (mode, action) => {
	const database = await open();
	try {
		return await new Promise((resolve, reject) => {
			const transaction = database.transaction(STORE, mode);
			const request = action(transaction.objectStore(STORE));
			transaction.oncomplete = () => resolve(request.result);
			transaction.onerror = transaction.onabort = () => reject(transaction.error);
		});
	} finally {
		database.close();
	}
};

/* A browser that keeps nothing (a private window, a full disk) only means that the file has to be chosen. */
const quietly = action => action().catch(() => undefined);

/* { name, octets }, or undefined */
export const kept = () => quietly(() => run('readonly', store => store.get('file')));
/* whether it is kept now */
export const keep = async file => await quietly(() => run('readwrite', store => store.put(file, 'file'))) === 'file';
export const forget = () => quietly(() => run('readwrite', store => store.delete('file')));
