import { Type } from 'typebox';

/** Someone as another system names them. */
export const PersonSchema = Type.Object({
  name: Type.Optional(Type.String()),
  email: Type.Optional(Type.String()),
  login: Type.Optional(Type.String()),
  kind: Type.Optional(Type.String()),
});
