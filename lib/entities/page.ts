/**
 * Lists in pages, newest first. A cursor names the list it belongs to and the
 * last entry given, so a page starts where the last one ended whatever was
 * added or removed meanwhile.
 *
 * @module
 */
import { fromBase64Url, toBase64Url } from "../digest.ts";
import { AppError } from "../errors.ts";
import { isId } from "../ids.ts";
import type { Key, Prefix } from "../kv/keys.ts";
import type { Store } from "../kv/store.ts";

/** Which page is wanted. */
export interface PageRequest {
  /** 1 to {@linkcode PAGE_MAX}. */
  limit: number;
  /** From the page before; null for the first. */
  cursor: string | null;
}

/** A page; `nextCursor` is null when there is no more. */
export interface Page<T> {
  /** At most as many as were asked for; newest first. */
  data: T[];
  /** What to ask for the next page with; null on the last one. */
  nextCursor: string | null;
}

/** Entries a page may have. */
export const PAGE_MAX = 200;
/** Entries that one request may look at in search of those that are wanted. */
const SCAN_MAX = 2_000;
/** Entries that such a search looks at in one round trip. */
const SCAN_STEP = 200;

/** What a list can be made of. */
export interface HasId {
  /** UUIDv7: its text sorts by age. */
  id: string;
}

/**
 * A page of primary entries, newest first.
 *
 * @param list Names the list and its filters; part of the cursor.
 * @throws {AppError} `malformed` on a cursor that is not of this list.
 */
export async function listEntities<T extends HasId>(
  { store }: { readonly store: Store },
  list: string,
  prefix: Prefix<T>,
  { limit, cursor }: PageRequest,
  isWanted?: (entity: T) => boolean,
): Promise<Page<T>> {
  const data: T[] = [];
  let after = readCursor(list, cursor);
  // In search of a few, small steps would only be more round trips.
  const step = isWanted ? Math.max(limit + 1, SCAN_STEP) : limit + 1;
  for (let seen = 0; seen < SCAN_MAX; seen += step) {
    const entries = await store.list(prefix, {
      limit: step,
      reverse: true,
      ...(after === null ? {} : { end: [...prefix, after] }),
    });
    for (const { value } of entries) {
      if (isWanted && !isWanted(value)) continue;
      if (data.length === limit) return pageOf(list, data, data.at(-1)!.id);
      data.push(value);
    }
    if (entries.length < step) return { data, nextCursor: null };
    after = entries.at(-1)!.value.id;
  }
  return pageOf(list, data, after!);
}

/**
 * A page of the entries that an index names, newest first.
 *
 * @param isWanted Whether the entity still is what the index says: it is read
 * after the index and may have changed in between.
 */
export async function listByIndex<T extends HasId>(
  { store }: { readonly store: Store },
  list: string,
  prefix: Prefix<string>,
  primary: (id: string) => Key<T>,
  { limit, cursor }: PageRequest,
  isWanted: (entity: T) => boolean = () => true,
): Promise<Page<T>> {
  const after = readCursor(list, cursor);
  const entries = await store.list(prefix, {
    limit: limit + 1,
    reverse: true,
    ...(after === null ? {} : { end: [...prefix, after] }),
  });
  const ids = entries.slice(0, limit).map(({ value }) => value);
  const found = await store.getMany(ids.map(primary));
  const data = found.filter((entity): entity is T & typeof entity =>
    entity !== null && isWanted(entity)
  );
  return entries.length > limit ? pageOf(list, data, ids.at(-1)!) : { data, nextCursor: null };
}

/** Every entry of a list, page by page. */
export async function* everyPage<T>(
  getPage: (page: PageRequest) => Promise<Page<T>>,
): AsyncGenerator<T> {
  let cursor: string | null = null;
  do {
    const page: Page<T> = await getPage({ limit: PAGE_MAX, cursor });
    yield* page.data;
    cursor = page.nextCursor;
  } while (cursor !== null);
}

function pageOf<T>(list: string, data: T[], last: string): Page<T> {
  return { data, nextCursor: toBase64Url(new TextEncoder().encode(`${list}:${last}`)) };
}

function readCursor(list: string, cursor: string | null): string | null {
  if (cursor === null) return null;
  const bytes = fromBase64Url(cursor);
  const text = bytes ? new TextDecoder().decode(bytes) : "";
  const id = text.slice(list.length + 1);
  if (!text.startsWith(`${list}:`) || !isId(id)) {
    throw new AppError("malformed", "The cursor is not one that this list gave out", {
      fields: [{ path: "cursor", message: "Not a cursor of this list", code: "bad_cursor" }],
    });
  }
  return id;
}
