import { Type } from 'typebox';

/** Why an object, a listing or a queue can't be read, in words that say what to do. */
export const TroubleSchema = Type.Object({
  code: Type.String(),
  message: Type.String(),
  hint: Type.Optional(Type.String()),
});
export const MaybeTrouble = Type.Union([TroubleSchema, Type.Null()]);
