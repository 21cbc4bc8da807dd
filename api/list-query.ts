import { Type } from 'typebox';

/** A parameter that may stand several times. */
export function many<T extends ReturnType<typeof Type.String>>(item: T) {
  return Type.Optional(Type.Union([item, Type.Array(item, { maxItems: 50 })]));
}

/** Values of a parameter that may stand several times. */
export function listOf<T>(value: T | T[] | undefined): T[] | undefined {
  return value === undefined ? undefined : Array.isArray(value) ? value : [value];
}

/** How lists are paged. */
export const PageQuery = {
  cursor: Type.Optional(Type.String()),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 50 })),
};
