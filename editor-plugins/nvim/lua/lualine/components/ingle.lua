-- The component `ingle` of lualine.nvim.
return function()
  return require('ingle').statusline()
end
