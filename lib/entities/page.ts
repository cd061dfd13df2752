/**
 * Lists in pages, newest first. A cursor holds its list and the last entry, so a page starts where
 * the previous one ended, whatever was added or removed meanwhile.
 *
 * @module
 */
import { fromBase64Url, toBase64Url } from "../digest.ts";
import { AppError } from "../errors.ts";
import { isId } from "../ids.ts";
import type { Key, Prefix } from "../kv/keys.ts";
import type { Store } from "../kv/store.ts";

/** The requested page. */
export interface PageRequest {
  /** 1 to {@linkcode PAGE_MAX}. */
  limit: number;
  /** The previous page's `nextCursor`; null for the first page. */
  cursor: string | null;
}

/** A page of a list. */
export interface Page<T> {
  /** At most `limit` entries, newest first. */
  data: T[];
  /** The cursor of the next page; null on the last one. */
  nextCursor: string | null;
}

/** Entries of a page at most. */
export const PAGE_MAX = 200;
/** Entries that one request reads at most to fill a filtered page. */
const SCAN_MAX = 2_000;
/** Entries that it reads in one round trip. */
const SCAN_STEP = 200;

/** Entries of a list have an id. */
export interface HasId {
  /** UUIDv7: its text sorts by age. */
  id: string;
}

/**
 * A page of primary entries, newest first.
 *
 * @param list The name of the list with its filters; part of the cursor.
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
  // A filtered page reads in large steps: small ones would only add round trips.
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
 * A page of the entries of an index, newest first.
 *
 * @param isWanted Whether the entity still matches the index: it is read after the index and may have
 * changed in between.
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
    throw new AppError("malformed", "The cursor does not belong to this list", {
      fields: [{
        path: "cursor",
        message: "This is not a cursor of this list",
        code: "bad_cursor",
      }],
    });
  }
  return id;
}
