/** Two commands to paste: one deploys a function, the other calls it. */
export function callToTry(address: string, withKey: boolean): string {
  const key = withKey ? ' -H "authorization: Bearer $PILUM_API_KEY"' : '';
  const json = ` -H 'content-type: application/json'`;
  const artifact = `${address}/v1/artifacts/hello`;
  const spec = JSON.stringify({ runtime: 'process', code: { inline: 'export default (e) => ({ hello: e.name })' } });
  return `
Deploy a function and call it:

  curl -sX PUT ${artifact}${key}${json} -d '${spec}'
  curl -s ${artifact}/invoke${key}${json} -d '{"name":"Ada"}'
`;
}
