// Starts Swagger UI.

SwaggerUIBundle({
  dom_id: "#swagger-ui",
  url: document.getElementById("swagger-ui").dataset.document,
  deepLinking: false, // deep links put a link into each button, which keyboards can't reach
  defaultModelsExpandDepth: -1,
  docExpansion: "full",
  syntaxHighlight: false,
});
